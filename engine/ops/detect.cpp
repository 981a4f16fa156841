// Asks the processor what it has. Compiled without instruction-set flags, so that it runs on any processor.
#include "avx2.h"

namespace camfit {

const Kernels* avx2_kernels() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  const bool present =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt");
  return present ? avx2::kernels() : nullptr;
#else
  return nullptr;
#endif
}

}  // namespace camfit
