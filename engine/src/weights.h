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
  kSparseConv, // taps: a convolution runs from its non-zero weights
  kColumns,    // columns: a convolution runs from the columns that each panel uses
  kPairs,      // pairs: a convolution runs from its kernels that are not zero
  kCodebook,   // source.sparse: a linear layer runs from it
  kSparse,     // source.sparse and values: a linear layer runs from it
  kLinearRows, kLinearChunks, kLinearBlocks, kLinearTiles,  // linear: mode speed's forms of the two above
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
  SparseTaps taps;
  PanelColumns columns;
  ChannelPairs pairs;
  union {
    SparseRows rows;
    SparseChunks chunks;
    SparseBlocks blocks;
    SparseTiles tiles;
  } linear;
  MatrixSource source;
  Epilogue epilogue;
  HeldInt8 int8;
  uint64_t nonzeros;     // weights that the stored form does not skip
  uint64_t params;       // weights that it stores: non-zeros, or buckets
};

// For the integer ops without a weight: sums, pools, activations.
bool hold_int8_arithmetic(const Layer& layer, Allocator& allocator, HeldInt8* out, Error& error);

// For the ops with a weight, and affine (epilogue only). Decodes and checks the payloads; `error` names the node.
bool hold_weights(const Layer& layer, camfit_mode mode, const Kernels& kernels, Allocator& allocator, HeldWeights* out,
                  Error& error);

}  // namespace camfit
