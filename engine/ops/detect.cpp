// Asks the processor what it has. Compiled without instruction-set flags, so that it runs on any processor.
// __builtin_cpu_supports reads CPUID, and by XGETBV whether the system keeps the registers (ymm, zmm and masks).
#include "avx2.h"
#include "avx512.h"
#include "neon.h"

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

const Kernels* avx512_kernels() {
#if defined(__x86_64__) || defined(__i386__)
  if (!avx2_kernels()) return nullptr;
  const bool present = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return present ? avx512::kernels(__builtin_cpu_supports("avx512vpopcntdq"), __builtin_cpu_supports("avx512vnni")) : nullptr;
#else
  return nullptr;
#endif
}

// Every 64-bit ARM processor has NEON, so there is nothing to ask.
const Kernels* neon_kernels() { return neon::kernels(); }

}  // namespace camfit
