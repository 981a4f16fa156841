// Layers: nodes whose shapes and weights have been checked against each other.
#pragma once
#include "int8/int8.h"
#include "kernels.h"
#include "network.h"

namespace camfit {

struct Layer {
  Op op;
  const Node* node;
  uint32_t index;            // of the node
  Shape in, out;             // of the first input and of the output
  Quantization in_level, other_level, out_level;  // what they are made of; `other`: of a second input
  Window window;             // convolutions and pools; a linear layer is a 1x1 window on a 1x1 image
  Activation activation;
  int first_channel;         // slice
  bool scale_input;          // binary ops
  bool count_include_pad;    // avg_pool
  const Weight* weight;      // null for none, as the next two
  const Weight* scale;
  const Weight* bias;
  uint64_t work;             // multiply-accumulates, or elements read, of one image; zeros counted
};

// Bytes of one element of the layer's output.
inline uint64_t element_bytes(const Layer& layer) { return layer.out_level.bytes() ? 1 : sizeof(float); }

// Works out the shape of every value and checks all that an op demands of its inputs, attributes and weights.
// `layers` holds network.node_count entries, `values` one more: value k is `values[k]`.
bool resolve_layers(const Network& network, const Limits& limits, Layer* layers, Shape* values, Error& error);

}  // namespace camfit
