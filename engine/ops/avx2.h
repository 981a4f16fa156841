// The kernels for x86 processors with AVX2, FMA and POPCNT. kernels.h says what each one computes; plain.h says how
// they treat not-a-number, which is the same here.
#pragma once
#include "kernels.h"

namespace camfit {
namespace avx2 {

const Kernels* kernels();  // nullptr where not compiled for AVX2; does not look at the processor

}  // namespace avx2
}  // namespace camfit

#define CAMFIT_DECLARED_SET avx2
#include "kernel_set.h"
#undef CAMFIT_DECLARED_SET
