// The kernels for x86 processors with AVX-512 (F, BW, DQ, VL). What it would bring nothing for is AVX2's.
#pragma once
#include "kernels.h"

namespace camfit {
namespace avx512 {

// nullptr where not compiled for AVX-512; does not look at the processor. `popcounts`: it has VPOPCNTDQ, `vnni`: VNNI.
const Kernels* kernels(bool popcounts, bool vnni);

}  // namespace avx512
}  // namespace camfit

#define CAMFIT_DECLARED_SET avx512
#include "kernel_set.h"
#undef CAMFIT_DECLARED_SET
