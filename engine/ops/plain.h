// The plain kernels: portable C++, one obvious loop nest each. They are the oracle that every other set is tested
// against, and what runs where no other set does. kernels.h says what each one computes.
//
// Not-a-number: sign(NaN) = -1; activations and sums carry a NaN on; max_pool ignores it.
#pragma once
#include "kernels.h"

namespace camfit {
namespace plain {

inline float activate(float y, Activation activation) {
  if (activation == Activation::kNone) return y;
  y = y < 0.0f ? 0.0f : y;
  return activation == Activation::kRelu6 && y > 6.0f ? 6.0f : y;
}

inline float finish(float accumulated, const Epilogue& epilogue, int channel) {
  const float scale = epilogue.scale ? epilogue.scale[channel] : 1.0f;
  const float bias = epilogue.bias ? epilogue.bias[channel] : 0.0f;
  return activate(scale * accumulated + bias, epilogue.activation);
}

}  // namespace plain
}  // namespace camfit

#define CAMFIT_DECLARED_SET plain
#include "kernel_set.h"
#undef CAMFIT_DECLARED_SET
