// The tables of NEON kernels, in the order of kernels.h. Null where the compiler does not target 64-bit ARM.
#include "neon.h"

#include "int8/int8.h"
#include "plain.h"

namespace camfit {
namespace neon {

#if defined(__aarch64__)
namespace {

constexpr Kernels table_with(const Int8Kernels* int8) {
  return {
      "neon", int8,
      conv2d_scratch, conv2d, winograd_tile, winograd_scratch, winograd,
      plain::conv2d_sparse_cost, plain::conv2d_sparse_scratch, plain::conv2d_sparse,
      conv2d_columns_cost, conv2d_columns_scratch, conv2d_columns,
      winograd_pairs_tile, winograd_pairs_cost, winograd_pairs_scratch, winograd_pairs,
      depthwise, linear,
      plain::linear_sparse, plain::linear_chunks, plain::linear_blocks, nullptr, linear_hashed, hashed_row, pack_signs,
      binary_conv2d, box_filter, max_pool, avg_pool, global_avg_pool, add, activation, affine, flatten, softmax, channel_shuffle, plain::depth_to_space, normalise_u8, normalise_f32,
  };
}

}  // namespace

const Kernels* kernels(bool dot_products) {
  static constexpr Kernels tables[2] = {table_with(&int8_kernels), table_with(&int8_dot_kernels)};
  return &tables[dot_products];
}
#else
const Kernels* kernels(bool) { return nullptr; }
#endif

}  // namespace neon
}  // namespace camfit
