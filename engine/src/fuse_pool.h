// A convolution of bytes and the pool behind it in one step: a few rows of the convolution at a time are computed into a
// thread's work space and pooled from there, so that its whole output is never in the arena. What the pool reads is
// byte for byte what it would have read there. Mamalet, Roux, Garcia, Real-time video convolutional face finder on
// embedded platforms, 2007.
#pragma once
#include "engine.h"
#include "layers.h"

namespace camfit {

// Whether one step may do both, where nothing but `pool` reads `conv`.
bool can_fuse(const Layer& conv, const Layer& pool, int threads);

// The pool that a step of `conv` goes on with.
FusedPool fused_pool(const Layer& pool);

// Bytes of private work space that one thread needs.
uint64_t fused_scratch(const Step& step, const Int8Kernels& kernels);

// Computes rows of the pool's output.
void run_fused(const Step& step, const Int8Kernels& kernels, const uint8_t* in, uint8_t* out, Range rows,
               uint8_t* scratch);

}  // namespace camfit
