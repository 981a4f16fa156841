// Where conv2d_sparse puts its input, and with it what the offset of a weight means: shared by the kernels and by what
// prepares the weights at load. Internal linkage, as in window.h.
//
// A channel becomes stride_h x stride_w planes, one for each remainder of rows and columns by the strides, zeros of the
// padding included. So along the output pixels of a row, and on into the next row, every tap reads consecutive floats:
// output pixel (y, x) of a block is position y * pitch + x, and a weight reads at position + offset. Positions between
// the output's width and the pitch compute what nobody reads. Where the stride is 1, the zeros right of a row are those
// left of the next one.
#pragma once
#include "../window.h"

namespace camfit {
namespace {

struct SparseLayout {
  int phases_y, phases_x;  // planes of a channel
  int reach_y, reach_x;    // rows and columns of a plane beyond those of the output
  int columns;             // of a plane's row: out.width + reach_x
  int pitch;               // floats from row to row; less than `columns` where padding is shared
  int rows;                // output rows of a block
  int channels;            // of an input block: sums pass through all weights of one, whose planes a cache holds
  int64_t plane;           // floats
};

constexpr int64_t kSparseScratchFloats = 64 << 10;  // of all planes, or more for one row: within the second-level cache
constexpr int64_t kSparseBlockFloats = 5 << 10;     // of an input block, as far as one tile reads: within the first
constexpr int kSparsePositions = 96;                // of a tile, for the line above
constexpr int kSparseSlack = 16;                    // floats that vectors may read past the last plane

inline int64_t sparse_channel_floats(const SparseLayout& l) { return l.plane * l.phases_y * l.phases_x; }

inline SparseLayout sparse_layout(const Window& w) {
  SparseLayout l = {};
  const int span_y = (w.kernel_h - 1) * w.dilation_h, span_x = (w.kernel_w - 1) * w.dilation_w;
  l.phases_y = span_y + 1 < w.stride_h ? span_y + 1 : w.stride_h;
  l.phases_x = span_x + 1 < w.stride_w ? span_x + 1 : w.stride_w;
  l.reach_y = span_y / w.stride_h;
  l.reach_x = span_x / w.stride_w;
  l.columns = w.out.width + l.reach_x;
  const int right = l.columns - w.pad_left - w.in.width;  // columns of zeros, where the stride is 1
  int shared = w.stride_w > 1 || right < 0 ? 0 : right < w.pad_left ? right : w.pad_left;
  if (shared > l.reach_x) shared = l.reach_x;  // output pixels share nothing
  l.pitch = l.columns - shared;
  const auto plane_of = [&](int rows) {
    const int64_t floats = int64_t(rows + l.reach_y) * l.pitch + shared;
    return (floats + 15) / 16 * 16 + 8;  // channels lie apart from multiples of a cache's ways
  };
  const int64_t planes = int64_t(w.in.channels) * l.phases_y * l.phases_x;
  l.rows = w.out.height;
  while (l.rows > 1 && planes * plane_of(l.rows) > kSparseScratchFloats) l.rows = (l.rows + 1) / 2;
  l.plane = plane_of(l.rows);
  const int64_t read = kSparsePositions + int64_t(l.reach_y) * l.pitch;
  const int64_t of_tile = (read < l.plane ? read : l.plane) * l.phases_y * l.phases_x;
  const int64_t fit = kSparseBlockFloats / of_tile;
  l.channels = fit < 8 ? 8 : fit > w.in.channels ? w.in.channels : int(fit);
  return l;
}

// No offset overflows, and scratch stays within reason.
inline bool sparse_fits(const Window& w) {
  return w.groups == 1 && w.in.channels * sparse_channel_floats(sparse_layout(w)) <= int64_t(1) << 24;
}

inline int sparse_blocks(const Window& w, const SparseLayout& l) { return ceil_div(w.in.channels, l.channels); }

// Where the weight of input channel `channel` and tap (ky, kx) reads, from its output's position.
inline int64_t sparse_offset(const Window& w, const SparseLayout& l, int channel, int ky, int kx) {
  const int y = ky * w.dilation_h, x = kx * w.dilation_w;
  const int64_t plane = (int64_t(channel) * l.phases_y + y % w.stride_h) * l.phases_x + x % w.stride_w;
  return plane * l.plane + int64_t(y / w.stride_h) * l.pitch + x / w.stride_w;
}

// The columns of a row of a plane of phase `phase` that hold input pixels; the rest is padding.
inline Range sparse_inside(const Window& w, const SparseLayout& l, int phase) {
  const int first = w.pad_left - phase, end = first + w.in.width;  // in columns times the stride
  int begin = first > 0 ? ceil_div(first, w.stride_w) : 0, stop = end > 0 ? ceil_div(end, w.stride_w) : 0;
  if (stop > l.columns) stop = l.columns;
  if (begin > stop) begin = stop;
  return {begin, stop};
}

}  // namespace
}  // namespace camfit
