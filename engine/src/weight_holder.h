// What the parts of weights.cpp and sparse_weights.cpp share.
#pragma once
#include "codec.h"
#include "weights.h"

namespace camfit {

// One layer at work, and the start of every message about it.
struct Holder {
  const Layer& layer;
  camfit_mode mode;
  const Kernels& kernels;
  Allocator& allocator;
  Error& error;
  char who[96];

  // Of a convolution; a linear layer's is 1 x 1.
  Window window() const {
    Window all = layer.window;
    all.in = layer.in;
    all.out = layer.out;
    return all;
  }
  bool no_memory() const { return error.out_of_memory(allocator, who); }
};

// Copies `count` f32 of the file; refuses values that are not finite. `what` names one of them.
bool read_floats(const Holder& at, const char* what, const uint8_t* values, uint64_t count, const float** out);

// From `out->source` to `out->floats`.
bool fill_all_panels(const Holder& at, HeldWeights* out);
bool fill_depthwise(const Holder& at, HeldWeights* out);

bool read_head(const Holder& at, const uint8_t* payload, size_t size, CodebookHead* head);

// Decodes a codebook payload to `source->sparse`, with columns in panel order, of 16 bits where those suffice.
bool read_codebook(const Holder& at, const uint8_t* payload, size_t size, MatrixSource* source, uint32_t* entries,
                   uint64_t* nonzeros);
// Decodes a codebook payload whose head says `bytes` to `source->bytes` and `source->sparse.codebook`.
bool read_bytes(const Holder& at, const uint8_t* payload, size_t size, const CodebookHead& head, MatrixSource* source);

// What read_codebook and read_bytes took.
void give_sparse(Allocator& allocator, const SparseRows& rows);

// `scale` and `bias`: the layer's vectors.
bool hold_int8(const Holder& at, bool depthwise, const float* scale, const float* bias, HeldWeights* out);

constexpr uint32_t kCodedEntries = 16;  // up to so many values, hold_linear may keep 4-bit codes

// A linear layer from sparse rows, in the form that is fastest. `entries`: of the codebook, where rows have codes.
// `held` tells whether a form is faster than panels; the rows are then no longer needed.
bool hold_linear(const Holder& at, const SparseRows& rows, uint32_t entries, uint64_t nonzeros, HeldWeights* out,
                 bool* held);

// A convolution from its sparse rows in `out->source`, in the way that is fastest; not for depthwise ones. In mode memory none
// is held, for all take more room than the form.
bool hold_sparse_conv(const Holder& at, HeldWeights* out, bool* held);

bool hold_codebook(const Holder& at, bool linear, bool depthwise, HeldWeights* out);
bool hold_sparse(const Holder& at, bool linear, bool depthwise, HeldWeights* out);

}  // namespace camfit
