// Weights as the engine holds them after load: decoded once, or kept in their compressed form.
#pragma once
#include "camfit.h"
#include "layers.h"
#include "panels.h"

namespace camfit {

enum class Held : uint8_t {
  kPanels,     // floats: all panels
  kWinograd,   // floats: all panels, transformed for tiles of `tile` outputs a side
  kDepthwise,  // floats: [kernel_h][kernel_w][channels]
  kExpand,     // source: one panel at a time is filled at each run
  kCodebook,   // source.sparse: a linear layer runs from it
  kSparse,     // source.sparse and values: a linear layer runs from it
  kHashed,     // source.hashed: a linear layer runs from it
  kInt8,       // int8: a convolution or a linear layer
  kInt8Depthwise,
  kSigns,      // words: [cout][kernel_h][kernel_w][words of 64 channels]
};

// An integer layer's weights and arithmetic; which of them there are depends on the op.
struct HeldInt8 {
  Int8Panels panels;
  const int16_t* pairs;  // depthwise
  Requantize to;
  Int8Sum sum;
};

struct HeldWeights {
  Held held;
  int tile;              // kWinograd
  const float* floats;
  const uint64_t* words;
  MatrixSource source;
  Epilogue epilogue;
  HeldInt8 int8;
  const uint16_t* iota;  // kSparse: 0, 1, 2, ... as many as the longest row has entries
  uint64_t nonzeros;     // weights that the stored form does not skip
  uint64_t params;       // weights that it stores: non-zeros, or buckets
};

// A linear layer in form codebook or sparse runs straight from the sparse rows when fewer of its weights than this are
// stored. Measured: a sparse multiply-accumulate gathers its input and value and costs about as much as ten dense ones
// from panels in cache. Panels past kLargePanels come from memory, at a cost of about four.
constexpr double kSparseDensity = 0.10, kSparseDensityOfLarge = 0.25;
constexpr uint64_t kLargePanels = 2 << 20;  // bytes: a common size of the cache of one core

// For the integer ops without a weight: sums, pools, activations.
bool hold_int8_arithmetic(const Layer& layer, Allocator& allocator, HeldInt8* out, Error& error);

// For the ops with a weight, and affine (epilogue only). Decodes and checks the payloads; `error` names the node.
bool hold_weights(const Layer& layer, camfit_mode mode, const Kernels& kernels, Allocator& allocator, HeldWeights* out,
                  Error& error);

}  // namespace camfit
