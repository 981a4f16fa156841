// The tables of AVX-512 kernels, in the order of kernels.h. Null where the compiler does not target AVX-512.
#include "avx512.h"

#include "avx2.h"
#include "int8/int8.h"
#include "plain.h"

namespace camfit {
namespace avx512 {
#if defined(__AVX512F__)
namespace {

using Binary = decltype(&binary_conv2d);

constexpr Kernels table_with(Binary binary, const Int8Kernels* int8) {
  return {
      "avx512", int8,
      conv2d_scratch, conv2d, winograd_tile, winograd_scratch, winograd,
      conv2d_sparse_cost, conv2d_sparse_scratch, conv2d_sparse,
      conv2d_columns_cost, conv2d_columns_scratch, conv2d_columns,
      winograd_pairs_tile, winograd_pairs_cost, winograd_pairs_scratch, winograd_pairs,
      avx2::depthwise, linear, avx2::linear_sparse,
      linear_chunks, linear_blocks, linear_tiles, linear_hashed, hashed_row, pack_signs, binary, avx2::box_filter,
      max_pool, avg_pool, global_avg_pool, add,
      activation, affine, avx2::flatten, avx2::softmax, avx2::channel_shuffle, plain::depth_to_space, avx2::normalise_u8, avx2::normalise_f32,
  };
}

}  // namespace

const Kernels* kernels(bool popcounts, bool vnni) {
  static constexpr Kernels tables[2][2] = {
      {table_with(avx2::binary_conv2d, &avx2::int8_kernels), table_with(avx2::binary_conv2d, &avx512::int8_kernels)},
      {table_with(binary_conv2d, &avx2::int8_kernels), table_with(binary_conv2d, &avx512::int8_kernels)},
  };
  return &tables[popcounts][vnni];
}
#else
const Kernels* kernels(bool, bool) { return nullptr; }
#endif
}  // namespace avx512
}  // namespace camfit
