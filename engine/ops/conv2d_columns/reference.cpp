#include "../plain.h"
#include "block.h"

namespace camfit {
namespace plain {

// Sums are those of the dense kernel, in its order, without the products that are zero: the same bits. Less work is less
// time here, but for the copy of the input.
CostLine conv2d_columns_cost(const Window& w) { return columns_fit(w) ? CostLine{0.05, 1.0} : kNever; }

size_t conv2d_columns_scratch(const Window& w) { return size_t(columns_layout(w).scratch); }

void conv2d_columns(const Window& w, const float* in, const PanelColumns& weights, const Epilogue& epilogue, float* out,
                    Range rows, Range panels, float* scratch) {
  const ColumnsLayout l = columns_layout(w);
  for (int row = rows.begin; row < rows.end; row += l.rows) {
    const int count = rows.end - row < l.rows ? rows.end - row : l.rows;
    const float* const origin = block_origin(w, l, in, row, count, scratch);
    for (int p = panels.begin; p < panels.end; ++p) {
      const PanelPlace place = panel_place(w.out.channels, w.groups, p);
      const ColumnList list = weights.list[p];
      for (int y = 0; y < count; ++y)
        for (int x = 0; x < w.out.width; ++x) {
          const float* from = origin + size_t(y) * w.stride_h * size_t(l.pitch) + size_t(x) * w.stride_w * w.in.channels;
          const float* value = weights.value + list.value;
          float sum[kPanel] = {};
          for (uint32_t k = 0; k < list.count; ++k, value += kPanel)
            for (int lane = 0; lane < place.count; ++lane)
              sum[lane] += from[weights.offset[list.first + k]] * value[lane];
          float* to = out + (size_t(row + y) * w.out.width + x) * w.out.channels + place.first;
          for (int lane = 0; lane < place.count; ++lane) to[lane] = finish(sum[lane], epilogue, place.first + lane);
        }
    }
  }
}

}  // namespace plain
}  // namespace camfit
