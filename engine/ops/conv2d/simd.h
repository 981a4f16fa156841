// Convolution as an implicit matrix product. A tile is 6 pixels x 16 channels (8 x 32 with AVX-512). What a pixel
// reads is a list of runs of consecutive input floats; runs in the padding point to zeros, so the tile needs no test.
//   straight: 1x1 kernels without padding; pixels of a row lie a fixed step apart, no list is needed;
//   by taps: one run per tap, the group's input channels;
//   by rows: one run per kernel row, kernel_w * cin floats, when channels are few. Runs that stick out to the left or
//            right are copied, with zeros, to scratch.
// Pixels are handled in blocks, so that the lists stay in the first-level cache while all panels pass over them.
#pragma once
#include <string.h>

#include "../product.h"
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

constexpr int kLanes = Vec::kLanes;
constexpr int kTile = kTilePixels<Vec>;
constexpr int kAhead = 96 * kPanel;       // floats that weights are fetched ahead
constexpr int kRowChannels = 32;          // by rows up to this many input channels
constexpr int kBlockTiles = 96 / kTile;   // tiles of a block, or fewer to keep scratch below
constexpr size_t kScratchFloats = 16384;  // this, unless one tile needs more

struct Layout {
  bool straight, by_rows;
  int runs, length;                 // per pixel; floats of each
  int tiles;                        // per block
  size_t pointers, zeros, patches;  // floats of scratch
};

Layout layout_of(const Window& w) {
  Layout l = {};
  l.straight = w.kernel_h * w.kernel_w == 1 && w.pad_top == 0 && w.pad_left == 0 &&
               (w.out.height - 1) * w.stride_h < w.in.height && (w.out.width - 1) * w.stride_w < w.in.width;
  l.by_rows = !l.straight && w.groups == 1 && w.dilation_w == 1 && w.in.channels <= kRowChannels;
  l.runs = l.by_rows ? w.kernel_h : w.kernel_h * w.kernel_w;
  l.length = l.by_rows ? w.kernel_w * w.in.channels : w.in.channels / w.groups;
  l.tiles = kBlockTiles;
  if (l.straight) return l;
  l.zeros = size_t(l.by_rows ? l.length : w.in.channels);
  const Range inside = interior(w.out.width, w.kernel_w, w.stride_w, w.pad_left, 1, w.in.width);
  const int borders = l.by_rows ? w.out.width - (inside.end - inside.begin) : 0;  // pixels to copy, per output row
  for (;; l.tiles /= 2) {
    const int pixels = l.tiles * kTile, rows_touched = (pixels - 1) / w.out.width + 2;
    size_t copied = size_t(borders) * rows_touched;
    if (copied > size_t(pixels)) copied = size_t(pixels);
    l.pointers = size_t(l.runs) * pixels * (sizeof(const float*) / sizeof(float));
    l.patches = copied * l.runs * l.length;
    if (l.tiles == 1 || l.pointers + l.patches <= kScratchFloats) return l;
  }
}

// The input of one tile: lists of runs, `pitch` pixels apart, or pixels `step` floats apart.
struct Listed {
  const float* const* list;
  size_t pitch, offset;  // offset: of the group's channels
  const float* at(int run, int pixel) const { return list[run * pitch + pixel] + offset; }
};
struct Straight {
  const float* first;
  size_t step;
  const float* at(int, int pixel) const { return first + pixel * step; }
};

// V vectors of channels over `count` pixels that are stored one after the other; source.tile_at(i) is the input of the
// tile at pixel i. kSplit: see add_products_split.
template <typename F, int V, bool kSplit, typename Sources>
__attribute__((noinline)) void tiles_of(const Sources& sources, const Layout& l, int count, const float* panel,
                                        size_t apart, const ChannelFinish<F, V>& finish, float* out,
                                        size_t out_stride) {
  for_tiles<kTilePixels<F>>(count, [&](auto pixels, int first) __attribute__((always_inline)) {
    constexpr int P = decltype(pixels)::kCount, kSums = kSplit ? 2 : V;
    const auto source = sources.tile_at(first);
    F sum[P][kSums];
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i)
      CAMFIT_UNROLL(2) for (int v = 0; v < kSums; ++v) sum[i][v] = F::zero();
    const float* weights = panel;
    for (int r = 0; r < l.runs; ++r, weights += size_t(l.length) * kPanel) {
      const float* x[P];
      CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) x[i] = source.at(r, i);
      if constexpr (kSplit)
        add_products_split<F, P>(sum, x, l.length, weights);
      else
        add_products<F, P, V>(sum, x, l.length, weights, apart, Ahead(weights + kAhead, kLine));
    }
    float* to = out + first * out_stride;
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i, to += out_stride) {
      if (kSplit) sum[i][0] = sum[i][0] + sum[i][1];
      CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) finish.store(to, v, sum[i][v]);
    }
  });
}

template <typename Sources>
void panels_of(const Window& w, const Layout& l, Sources& sources, int first, int count, const float* panel,
               const Epilogue& epilogue, float* out, Range panels) {
  const int cin = w.in.channels / w.groups;
  const size_t panel_size = size_t(w.kernel_h) * w.kernel_w * cin * kPanel, out_stride = size_t(w.out.channels);
  for (int p = panels.begin; p < panels.end; ++p, panel += panel_size) {
    const PanelPlace place = panel_place(w.out.channels, w.groups, p);
    float* to = out + size_t(first) * out_stride + place.first;
    sources.offset = size_t(place.group) * cin;
    if (place.count <= Vec8::kLanes) {
      const ChannelFinish<Vec8, 1> finish(epilogue, place.first, place.count);
      tiles_of<Vec8, 1, true>(sources, l, count, panel, 0, finish, to, out_stride);
      continue;
    }
#if defined(__AVX512F__)
    if (p + 1 < panels.end) {  // two panels at once, where both are in use
      const PanelPlace next = panel_place(w.out.channels, w.groups, p + 1);
      if (next.group == place.group && next.count > Vec8::kLanes) {
        const ChannelFinish<Vec16, 2> finish(epilogue, place.first, kPanel + next.count);
        tiles_of<Vec16, 2, false>(sources, l, count, panel, panel_size, finish, to, out_stride);
        ++p;
        panel += panel_size;
        continue;
      }
    }
    const ChannelFinish<Vec16, 1> finish(epilogue, place.first, place.count);
    tiles_of<Vec16, 1, false>(sources, l, count, panel, 0, finish, to, out_stride);
#else
    const ChannelFinish<Vec8, 2> finish(epilogue, place.first, place.count);
    tiles_of<Vec8, 2, false>(sources, l, count, panel, Vec8::kLanes, finish, to, out_stride);
#endif
  }
}

struct StraightSources {
  const float* first;
  size_t step, offset;
  Straight tile_at(int i) const { return {first + i * step + offset, step}; }
};

// Lists the runs of output pixels [first, first + count), numbered row by row: [run][pixel of the block].
class ListedSources {
 public:
  size_t offset = 0;

  ListedSources(const Window& window, const Layout& layout, const float* input, float* scratch)
      : w(window), l(layout), in(input), pitch(size_t(layout.tiles) * kTile) {
    lists = reinterpret_cast<const float**>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
    zeros = reinterpret_cast<float*>(lists) + l.pointers;
    patches = zeros + l.zeros;
    memset(zeros, 0, l.zeros * sizeof(float));
  }

  Listed tile_at(int i) const { return {lists + i, pitch, offset}; }

  void fill(int first, int count) {
    patch = patches;
    for (int done = 0; done < count;) {
      const int oy = (first + done) / w.out.width, begin = (first + done) % w.out.width;
      const int end = w.out.width - begin < count - done ? w.out.width : begin + count - done;
      const float** to = lists + done;
      for (int ky = 0; ky < w.kernel_h; ++ky) {
        const int y = oy * w.stride_h - w.pad_top + ky * w.dilation_h;
        if (l.by_rows) {
          fill_run(to, y, 0, w.kernel_w, {begin, end});
          to += pitch;
          continue;
        }
        for (int kx = 0; kx < w.kernel_w; ++kx, to += pitch) fill_run(to, y, kx * w.dilation_w, 1, {begin, end});
      }
      done += end - begin;
    }
  }

 private:
  // One run of the pixels `range` of an output row: `width` pixels of input row y, from `shift` past each origin.
  void fill_run(const float** to, int y, int shift, int width, Range range) {
    const bool row_inside = y >= 0 && y < w.in.height;
    const Range inside = interior(w.out.width, width, w.stride_w, w.pad_left - shift, 1, w.in.width);
    const int from = !row_inside || inside.begin > range.end ? range.end : inside.begin;
    const int until = inside.end < range.end ? inside.end : range.end;
    const float* row = in + size_t(row_inside ? y : 0) * w.in.width * w.in.channels;
    const ptrdiff_t step = ptrdiff_t(w.stride_w) * w.in.channels;
    int ox = range.begin;
    for (; ox < from; ++ox) *to++ = row_inside && l.by_rows ? copy(row, ox) : zeros;
    if (ox < until) {
      const float* x = row + ptrdiff_t(ox * w.stride_w - w.pad_left + shift) * w.in.channels;
      for (; ox < until; ++ox, x += step) *to++ = x;
    }
    for (; ox < range.end; ++ox) *to++ = row_inside && l.by_rows ? copy(row, ox) : zeros;
  }

  // The run of output column ox, with its padding. Its last vector may write past it: the next copy, or kLanes floats
  // of scratch, lie there.
  const float* copy(const float* row, int ox) {
    const int ix = ox * w.stride_w - w.pad_left;
    const Range kx = valid_taps(ix, w.kernel_w, 1, w.in.width);
    const float* from = row + ptrdiff_t(ix + kx.begin) * w.in.channels;
    float *made = patch, *to = made + kx.begin * w.in.channels;
    for (int j = 0; j < l.length; j += kLanes) Vec::zero().store(made + j);
    for (int left = (kx.end - kx.begin) * w.in.channels; left > 0; left -= kLanes, from += kLanes, to += kLanes)
      Vec::load(from, Vec::mask(left)).store(to, Vec::mask(left));
    patch += l.length;
    return made;
  }

  const Window& w;
  const Layout& l;
  const float* in;
  const size_t pitch;
  const float** lists;
  float *zeros, *patches, *patch = nullptr;
};

}  // namespace

size_t conv2d_scratch(const Window& w) {
  const Layout l = layout_of(w);
  return l.straight ? 0 : l.pointers + l.zeros + l.patches + 16 + kLanes;  // 16: to align the lists; see `copy`
}

void conv2d(const Window& w, const float* in, const float* panel, const Epilogue& epilogue, float* out, Range rows,
            Range panels, float* scratch) {
  const Layout l = layout_of(w);
  const int width = w.out.width, end = rows.end * width, block = l.tiles * kTile;
  if (l.straight && w.groups == 1 && w.out.height * width == 1) {
    if (rows.begin < rows.end) linear(w.in.channels, w.out.channels, in, panel, epilogue, out, panels);
  } else if (l.straight) {
    // Without strides the pixels of several rows follow each other; else each row is a block of its own.
    const bool joined = w.stride_h == 1 && w.stride_w == 1 && width == w.in.width;
    const size_t row_floats = size_t(w.in.width) * w.in.channels;
    for (int first = rows.begin * width; first < end;) {
      const int most = joined ? block : width, count = end - first < most ? end - first : most;
      const size_t from = joined ? size_t(first) * w.in.channels : size_t(first / width) * w.stride_h * row_floats;
      StraightSources sources = {in + from, size_t(w.stride_w) * w.in.channels, 0};
      panels_of(w, l, sources, first, count, panel, epilogue, out, panels);
      first += count;
    }
  } else {
    ListedSources sources(w, l, in, scratch);
    for (int first = rows.begin * width; first < end; first += block) {
      const int count = end - first < block ? end - first : block;
      sources.fill(first, count);
      panels_of(w, l, sources, first, count, panel, epilogue, out, panels);
    }
  }
}

}  // namespace CAMFIT_SET
}  // namespace camfit
