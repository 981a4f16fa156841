#include "../plain.h"
#include "layout.h"

namespace camfit {
namespace plain {
namespace {

// The planes of the output rows from `first_row` on.
void fill_planes(const Window& w, const SparseLayout& l, const float* in, int first_row, int rows, float* planes) {
  for (int c = 0; c < w.in.channels; ++c)
    for (int py = 0; py < l.phases_y; ++py)
      for (int px = 0; px < l.phases_x; ++px, planes += l.plane) {
        const Range inside = sparse_inside(w, l, px);
        for (int r = 0; r < rows + l.reach_y; ++r) {
          const int y = (first_row + r) * w.stride_h + py - w.pad_top;
          for (int j = 0; j < l.columns; ++j) {
            const bool real = y >= 0 && y < w.in.height && j >= inside.begin && j < inside.end;
            const int x = j * w.stride_w + px - w.pad_left;
            planes[r * l.pitch + j] = real ? in[(size_t(y) * w.in.width + x) * w.in.channels + c] : 0.0f;
          }
        }
      }
}

}  // namespace

// Sums in the order of the dense kernel, as exported sources have them, are worth more here than speed.
CostLine conv2d_sparse_cost(const Window&) { return kNever; }

size_t conv2d_sparse_scratch(const Window& w) {
  const SparseLayout l = sparse_layout(w);
  return size_t(w.in.channels * sparse_channel_floats(l)) + size_t(l.rows) * l.pitch;
}

void conv2d_sparse(const Window& w, const float* in, const SparseTaps& weights, const Epilogue& epilogue, float* out,
                   Range rows, Range channels, float* scratch) {
  const SparseLayout l = sparse_layout(w);
  const int blocks = sparse_blocks(w, l);
  float* const sum = scratch + w.in.channels * sparse_channel_floats(l);
  for (int row = rows.begin; row < rows.end; row += l.rows) {
    const int count = rows.end - row < l.rows ? rows.end - row : l.rows, end = (count - 1) * l.pitch + w.out.width;
    fill_planes(w, l, in, row, count, scratch);
    for (int o = channels.begin; o < channels.end; ++o) {
      for (int i = 0; i < end; ++i) sum[i] = 0.0f;
      for (int block = 0; block < blocks; ++block) {
        const uint32_t* segment = weights.begin + size_t(block) * w.out.channels + o;
        for (uint32_t e = segment[0]; e < segment[1]; ++e) {
          const float* x = scratch + weights.tap[e].offset;
          const float value = weights.tap[e].value;
          for (int i = 0; i < end; ++i) sum[i] += value * x[i];
        }
      }
      for (int y = 0; y < count; ++y)
        for (int x = 0; x < w.out.width; ++x)
          out[(size_t(row + y) * w.out.width + x) * w.out.channels + o] = finish(sum[y * l.pitch + x], epilogue, o);
    }
  }
}

}  // namespace plain
}  // namespace camfit
