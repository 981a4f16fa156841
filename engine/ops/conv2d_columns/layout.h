// Where conv2d_columns finds its input, and with it what the offset of a column means: shared by the kernels and by what
// prepares the weights at load. Internal linkage, as in window.h.
//
// A column of the lowered matrix is an input channel at a tap of the kernel. If no window leaves the image, output pixel
// (y, x) reads its column at pixel (y * stride_h, x * stride_w) plus the offset; else from a copy of a block of rows, with
// the padding's zeros, in which the same holds.
#pragma once
#include "../window.h"

namespace camfit {
namespace {

struct ColumnsLayout {
  bool copies;
  int rows;         // output rows of a block
  int64_t pitch;    // floats from row to row
  int64_t scratch;  // floats of the copy
};

constexpr int64_t kColumnsScratchFloats = 64 << 10;  // of the copy, or more for one output row: within the second-level cache

inline ColumnsLayout columns_layout(const Window& w) {
  const int span_y = (w.kernel_h - 1) * w.dilation_h + 1, span_x = (w.kernel_w - 1) * w.dilation_w + 1;
  const int64_t height = int64_t(w.out.height - 1) * w.stride_h + span_y;
  const int64_t width = int64_t(w.out.width - 1) * w.stride_w + span_x;
  ColumnsLayout l = {};
  l.copies = w.pad_top > 0 || w.pad_left > 0 || height > w.in.height || width > w.in.width;
  l.rows = w.out.height;
  l.pitch = int64_t(l.copies ? width : w.in.width) * w.in.channels;
  if (!l.copies) return l;
  const auto floats = [&](int rows) { return (int64_t(rows - 1) * w.stride_h + span_y) * l.pitch; };
  while (l.rows > 1 && floats(l.rows) > kColumnsScratchFloats) l.rows = (l.rows + 1) / 2;
  l.scratch = floats(l.rows);
  return l;
}

// No offset overflows, and scratch stays within reason.
inline bool columns_fit(const Window& w) {
  constexpr int64_t kMostFloats = int64_t(1) << 24;
  const ColumnsLayout l = columns_layout(w);
  return l.scratch <= kMostFloats && int64_t(w.kernel_h) * w.dilation_h * l.pitch <= kMostFloats;
}

// Where the column of input channel `channel` (of all groups) and tap (ky, kx) lies from an output pixel's origin.
inline int64_t column_offset(const Window& w, const ColumnsLayout& l, int channel, int ky, int kx) {
  return int64_t(ky) * w.dilation_h * l.pitch + int64_t(kx) * w.dilation_w * w.in.channels + channel;
}

}  // namespace
}  // namespace camfit
