// The kernels for 64-bit ARM. What NEON would bring nothing for is the plain kernel.
#pragma once
#include "kernels.h"

namespace camfit {
namespace neon {

const Kernels* kernels();  // nullptr where not compiled for 64-bit ARM

}  // namespace neon
}  // namespace camfit

#define CAMFIT_DECLARED_SET neon
#include "kernel_set.h"
#undef CAMFIT_DECLARED_SET
