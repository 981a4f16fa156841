// Convolution as an implicit matrix product. A tile is 6 output pixels x 16 channels in 12 accumulators. What a pixel
// reads is a list of runs of consecutive input floats; runs in the padding point to zeros, so the tile needs no test.
//   straight: 1x1 kernels without padding; pixels of a row lie a fixed step apart, no list is needed;
//   by taps: one run per tap, the group's input channels;
//   by rows: one run per kernel row, kernel_w * cin floats, when channels are few. Runs that stick out to the left or
//            right are copied, with zeros, to scratch.
// Pixels are handled in blocks, so that the lists stay in the first-level cache while all panels pass over them.
#if defined(__AVX2__)
#include <string.h>

#include "../avx2_vector.h"

namespace camfit {
namespace avx2 {
namespace {

constexpr int kTile = 6;
constexpr int kRowChannels = 32;          // by rows up to this many input channels
constexpr int kBlockTiles = 16;           // tiles of a block, or fewer to keep scratch below
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

// Adds up P pixels of one panel and stores them: all 16 channels (V = 2), or the first 8 (V = 1) with the sums of even
// and odd inputs apart, so that there are still 12 independent ones.
template <int P, int V, typename Source>
inline __attribute__((always_inline)) void tile(const Source& source, const Layout& l, const float* panel,
                                                const PanelFinish& finish, float* out, size_t out_stride) {
  __m256 sum[P][2];
  CAMFIT_UNROLL(6) for (int i = 0; i < P; ++i) sum[i][0] = sum[i][1] = _mm256_setzero_ps();
  for (int r = 0; r < l.runs; ++r) {
    const float* x[P];
    CAMFIT_UNROLL(6) for (int i = 0; i < P; ++i) x[i] = source.at(r, i);
    int k = 0;
    if (V == 1) {
      for (; k + 2 <= l.length; k += 2, panel += 2 * kPanel) {
        const __m256 even = _mm256_loadu_ps(panel), odd = _mm256_loadu_ps(panel + kPanel);
        CAMFIT_UNROLL(6) for (int i = 0; i < P; ++i) {
          sum[i][0] = _mm256_fmadd_ps(_mm256_broadcast_ss(x[i] + k), even, sum[i][0]);
          sum[i][1] = _mm256_fmadd_ps(_mm256_broadcast_ss(x[i] + k + 1), odd, sum[i][1]);
        }
      }
    }
    for (; k < l.length; ++k, panel += kPanel) {
      const __m256 low = _mm256_loadu_ps(panel), high = V == 2 ? _mm256_loadu_ps(panel + kLanes) : low;
      CAMFIT_UNROLL(6) for (int i = 0; i < P; ++i) {
        const __m256 value = _mm256_broadcast_ss(x[i] + k);
        sum[i][0] = _mm256_fmadd_ps(value, low, sum[i][0]);
        if (V == 2) sum[i][1] = _mm256_fmadd_ps(value, high, sum[i][1]);
      }
    }
  }
  CAMFIT_UNROLL(6) for (int i = 0; i < P; ++i) {
    if (V == 1) sum[i][0] = _mm256_add_ps(sum[i][0], sum[i][1]);
    CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) finish.store(out + i * out_stride, v, sum[i][v]);
  }
}

// One panel over `count` pixels that are stored one after the other; source(i) is the input of the tile at pixel i.
template <int V, typename Sources>
__attribute__((noinline)) void tiles_of(const Sources& sources, const Layout& l, int count, const float* panel,
                                        const PanelFinish& finish, float* out, size_t out_stride) {
  int i = 0;
  for (; i + kTile <= count; i += kTile)
    tile<kTile, V>(sources.tile_at(i), l, panel, finish, out + i * out_stride, out_stride);
  if (i < count) {
    const auto source = sources.tile_at(i);
    out += i * out_stride;
    switch (count - i) {
      case 1: return tile<1, V>(source, l, panel, finish, out, out_stride);
      case 2: return tile<2, V>(source, l, panel, finish, out, out_stride);
      case 3: return tile<3, V>(source, l, panel, finish, out, out_stride);
      case 4: return tile<4, V>(source, l, panel, finish, out, out_stride);
      default: return tile<5, V>(source, l, panel, finish, out, out_stride);
    }
  }
}

template <typename Sources>
void panels_of(const Window& w, const Layout& l, Sources& sources, int first, int count, const float* panel,
               const Epilogue& epilogue, float* out, Range panels) {
  const int cin = w.in.channels / w.groups;
  const size_t panel_size = size_t(w.kernel_h) * w.kernel_w * cin * kPanel, out_stride = size_t(w.out.channels);
  for (int p = panels.begin; p < panels.end; ++p, panel += panel_size) {
    const PanelPlace place = panel_place(w.out.channels, w.groups, p);
    const PanelFinish finish(epilogue, place);
    float* to = out + size_t(first) * out_stride + place.first;
    sources.offset = size_t(place.group) * cin;
    (place.count > kLanes ? tiles_of<2, Sources> : tiles_of<1, Sources>)(sources, l, count, panel, finish, to,
                                                                         out_stride);
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
    for (int j = 0; j < l.length; j += kLanes) _mm256_storeu_ps(made + j, _mm256_setzero_ps());
    for (int left = (kx.end - kx.begin) * w.in.channels; left > 0; left -= kLanes, from += kLanes, to += kLanes)
      _mm256_maskstore_ps(to, lane_mask(left), _mm256_maskload_ps(from, lane_mask(left)));
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

}  // namespace avx2
}  // namespace camfit
#endif
