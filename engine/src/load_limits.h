// What the engine is willing to load. A file past a limit is refused before anything of its size is allocated.
#pragma once
#include <cstdint>

namespace camfit {

struct Limits {
  // Elements of one value or weight. 2^30 floats fill the 4 GiB below, and int arithmetic on them cannot overflow.
  uint64_t tensor_elements = uint64_t(1) << 30;
  uint32_t nodes = 16384;
  uint32_t weights = 65536;
  // Heights, widths, kernels, strides, paddings, dilations.
  uint32_t extent = 1 << 20;
  // Everything that the engine allocates, work space of the load included.
  uint64_t memory = uint64_t(4) << 30;
  // Multiply-accumulates (or reads of a pool, or elements of anything else) of one image: minutes on one core.
  uint64_t work = uint64_t(1) << 42;
};

}  // namespace camfit
