// The table of NEON kernels, in the order of kernels.h. Null where the compiler does not target 64-bit ARM.
#include "neon.h"

#include "int8/int8.h"
#include "plain.h"

namespace camfit {
namespace neon {

const Kernels* kernels() {
#if defined(__aarch64__)
  static constexpr Kernels table = {
      "neon", &plain::int8_kernels,
      conv2d_scratch, conv2d, winograd_tile, winograd_scratch, winograd,
      plain::conv2d_sparse_faster, plain::conv2d_sparse_scratch, plain::conv2d_sparse, depthwise, linear,
      plain::linear_sparse, plain::linear_chunks, plain::linear_blocks, nullptr, linear_hashed, hashed_row, pack_signs,
      binary_conv2d, box_filter, max_pool, avg_pool, global_avg_pool, add, activation, affine, flatten, softmax, channel_shuffle, normalise_u8, normalise_f32,
  };
  return &table;
#else
  return nullptr;
#endif
}

}  // namespace neon
}  // namespace camfit
