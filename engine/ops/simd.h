// What every simd.h begins with: the set that is being compiled, and its vectors.
#pragma once
#include "vector.h"

namespace camfit {
namespace {

using Clamp = ClampOf<Vec>;
using Finish = FinishOf<Vec>;

}  // namespace
}  // namespace camfit

#define CAMFIT_DECLARED_SET CAMFIT_SET
#include "kernel_set.h"
#undef CAMFIT_DECLARED_SET
