// The table of AVX2 kernels, in the order of kernels.h. Empty where the compiler does not target AVX2.
#include "avx2.h"

#include "int8/int8.h"
#include "plain.h"

namespace camfit {
namespace avx2 {

const Kernels* kernels() {
#if defined(__AVX2__)
  static constexpr Kernels table = {
      "avx2", &int8_kernels,
      conv2d_scratch, conv2d, winograd_tile, winograd_scratch, winograd,
      conv2d_sparse_cost, conv2d_sparse_scratch, conv2d_sparse,
      conv2d_columns_cost, conv2d_columns_scratch, conv2d_columns,
      winograd_pairs_tile, winograd_pairs_cost, winograd_pairs_scratch, winograd_pairs,
      depthwise, linear, linear_sparse, linear_chunks,
      linear_blocks, nullptr, linear_hashed,
      hashed_row, pack_signs, binary_conv2d, box_filter, max_pool, avg_pool, global_avg_pool, add, activation, affine,
      flatten, softmax, channel_shuffle, plain::depth_to_space, normalise_u8, normalise_f32,
  };
  return &table;
#else
  return nullptr;
#endif
}

}  // namespace avx2
}  // namespace camfit
