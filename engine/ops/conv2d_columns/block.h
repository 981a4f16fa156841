// The copy of a block of input rows, for every set.
#pragma once
#include <string.h>

#include "layout.h"

namespace camfit {
namespace {

// Where the origin of output pixel (first_row, 0) lies, after the rows that `rows` output rows from there on read have
// been copied to `scratch`, if the layout copies.
inline const float* block_origin(const Window& w, const ColumnsLayout& l, const float* in, int first_row, int rows,
                                 float* scratch) {
  const size_t channels = size_t(w.in.channels), in_row = size_t(w.in.width) * channels;
  if (!l.copies) return in + size_t(first_row) * w.stride_h * in_row;
  const int height = (rows - 1) * w.stride_h + (w.kernel_h - 1) * w.dilation_h + 1, top = first_row * w.stride_h - w.pad_top;
  const int width = int(l.pitch / w.in.channels);
  const int left = w.pad_left < width ? w.pad_left : width;
  const int inside = w.in.width < width - left ? w.in.width : width - left;
  float* to = scratch;
  for (int y = top; y < top + height; ++y, to += l.pitch) {
    if (y < 0 || y >= w.in.height) {
      memset(to, 0, size_t(l.pitch) * sizeof(float));
      continue;
    }
    float *const pixels = to + size_t(left) * channels, *const after = pixels + size_t(inside) * channels;
    memset(to, 0, size_t(left) * channels * sizeof(float));
    memcpy(pixels, in + size_t(y) * in_row, size_t(inside) * channels * sizeof(float));
    memset(after, 0, size_t(width - left - inside) * channels * sizeof(float));
  }
  return scratch;
}

}  // namespace
}  // namespace camfit
