// Names for the kernels that are written for AVX2 alone.
#pragma once
#include "avx2.h"
#include "vector.h"

namespace camfit {
namespace {

constexpr int kLanes = 8;

using Clamp = ClampOf<Vec8>;

}  // namespace
}  // namespace camfit
