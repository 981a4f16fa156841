// The table of plain kernels, in the order of kernels.h.
#include "plain.h"

#include "int8/int8.h"

namespace camfit {

const Kernels& plain_kernels() {
  using namespace plain;
  static constexpr Kernels table = {
      "plain", &int8_kernels,
      conv2d_scratch, conv2d, winograd_tile, winograd_scratch, nullptr,
      conv2d_sparse_cost, conv2d_sparse_scratch, conv2d_sparse,
      conv2d_columns_cost, conv2d_columns_scratch, conv2d_columns,
      nullptr, nullptr, nullptr, nullptr,
      depthwise, linear, linear_sparse, linear_chunks,
      linear_blocks, linear_tiles, linear_hashed,
      hashed_row, pack_signs, binary_conv2d, box_filter, max_pool, avg_pool, global_avg_pool, add, activation, affine,
      flatten, softmax, channel_shuffle, depth_to_space, normalise_u8, normalise_f32,
  };
  return table;
}

}  // namespace camfit
