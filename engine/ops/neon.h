// The kernels for 64-bit ARM. What NEON would bring nothing for is the plain kernel.
#pragma once
#include "kernels.h"

namespace camfit {
namespace neon {

// nullptr where not compiled for 64-bit ARM; does not look at the processor. `dot_products`: it has SDOT and UDOT.
const Kernels* kernels(bool dot_products);

}  // namespace neon
}  // namespace camfit

#define CAMFIT_DECLARED_SET neon
#include "kernel_set.h"
#undef CAMFIT_DECLARED_SET
