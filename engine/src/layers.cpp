#include "layers.h"

#include <cstdio>
#include <cstring>
#include <initializer_list>

namespace camfit {
namespace {

// One node under examination, and the start of every message about it.
struct Examined {
  uint32_t index;
  const Node& node;
  const Limits& limits;
  Error& error;
  char who[96];

  Examined(uint32_t i, const Node& n, const Limits& l, Error& e) : index(i), node(n), limits(l), error(e) {
    const Quoted name(n.name, n.name_length);
    std::snprintf(who, sizeof who, "NODE: node %u '%s' (%s)", i, name.text, op_layout(uint8_t(n.op))->name);
  }
};

// Beyond these, products of scales leave the range of float32.
constexpr float kLeastScale = 1e-18f, kLargestScale = 1e18f;

bool is_vector(const Shape& shape) { return shape.height == 1 && shape.width == 1; }

uint64_t saturating_product(uint64_t a, uint64_t b) { return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b; }

bool set_shape(const Examined& at, uint64_t height, uint64_t width, uint64_t channels, Shape* out) {
  // The first two are at most 4 times the extent limit each, the last below 2^39 (255 inputs of 32 bits).
  const uint64_t elements = saturating_product(height * width, channels);
  if (elements > at.limits.tensor_elements || height > at.limits.extent || width > at.limits.extent) {
    return at.error.unsupported("%s: output of %llu x %llu x %llu is larger than this engine takes", at.who,
                                static_cast<unsigned long long>(height), static_cast<unsigned long long>(width),
                                static_cast<unsigned long long>(channels));
  }
  out->height = int(height);
  out->width = int(width);
  out->channels = int(channels);
  return true;
}

bool set_activation(const Examined& at, uint32_t code, uint32_t least, Layer* layer) {
  if (code < least || code > uint32_t(Activation::kRelu6)) {
    return at.error.unsupported("%s: unknown activation %u", at.who, code);
  }
  layer->activation = Activation(code);
  return true;
}

bool wants_bytes(Op op) {
  return op == Op::kDequantize || op == Op::kInt8Conv2d || op == Op::kInt8Linear || op == Op::kInt8Add ||
         op == Op::kInt8GlobalAvgPool;
}

// Ops that move or choose values: their output is what their input is.
bool takes_both(Op op) {
  return op == Op::kMaxPool || op == Op::kAvgPool || op == Op::kConcat || op == Op::kActivation || op == Op::kFlatten ||
         op == Op::kChannelShuffle || op == Op::kDepthToSpace || op == Op::kSlice;
}

// Whether the inputs are bytes or floats as the op wants them.
bool check_levels(const Examined& at, const uint32_t* inputs, const Layer* layers, Layer* layer) {
  const auto level_of = [&](uint32_t value) { return value ? layers[value - 1].out_level : Quantization(); };
  layer->in_level = layer->out_level = level_of(inputs[0]);
  for (uint32_t i = 0; i < at.node.input_count; ++i) {
    const Quantization level = level_of(inputs[i]);
    if (level.bytes() != layer->in_level.bytes() || (!takes_both(layer->op) && level.bytes() != wants_bytes(layer->op))) {
      const bool want = takes_both(layer->op) ? layer->in_level.bytes() : wants_bytes(layer->op);
      return at.error.malformed("%s: its input %u is %s, expected %s", at.who, i, level.bytes() ? "bytes" : "float32",
                                want ? "bytes" : "float32");
    }
    if (layer->op == Op::kConcat && (level.scale != layer->in_level.scale || level.zero != layer->in_level.zero)) {
      return at.error.malformed("%s: its input %u has another scale or zero point than the first one", at.who, i);
    }
    if (i == 1) layer->other_level = level;
  }
  return true;
}

// A scale (bits of a float32) and a zero point of the output. A scale of 0 where that means float32.
bool set_level(const Examined& at, const uint32_t* attributes, bool may_be_float, Layer* layer) {
  float scale;
  std::memcpy(&scale, &attributes[0], sizeof scale);
  const bool is_float = may_be_float && attributes[0] == 0;
  if (!is_float && !(scale >= kLeastScale && scale <= kLargestScale)) {
    return at.error.malformed("%s: its scale is %g, expected %g to %g", at.who, double(scale), double(kLeastScale),
                              double(kLargestScale));
  }
  if (attributes[1] > 255 || (is_float && attributes[1])) {
    return at.error.malformed("%s: its zero point is %u, expected %s", at.who, attributes[1], is_float ? "0" : "0 to 255");
  }
  layer->out_level = Quantization{scale, int(attributes[1])};
  return true;
}

bool set_flag(const Examined& at, const char* name, uint32_t value, bool* out) {
  if (value > 1) return at.error.malformed("%s: %s is %u, expected 0 or 1", at.who, name, value);
  *out = value == 1;
  return true;
}

// Along one axis: how many windows fit.
bool window_count(const Examined& at, const char* axis, uint32_t size, uint64_t before, uint64_t after, uint64_t kernel,
                  uint64_t stride, uint64_t dilation, uint64_t* out) {
  const uint64_t padded = size + before + after, reach = dilation * (kernel - 1) + 1;
  if (reach > padded) {
    return at.error.malformed("%s: a window %s of %llu on an input of %llu, padding included", at.who, axis,
                              static_cast<unsigned long long>(reach), static_cast<unsigned long long>(padded));
  }
  *out = (padded - reach) / stride + 1;
  return true;
}

// kernel, stride and padding stand in the file as h, w, stride h, w, pad top, left, bottom, right.
bool set_window(const Examined& at, const uint32_t* geometry, uint32_t dilation_h, uint32_t dilation_w, uint32_t cout,
                Layer* layer) {
  static const char* const kNames[10] = {"kernel height", "kernel width", "stride height", "stride width",
                                         "padding top",   "padding left", "padding bottom", "padding right",
                                         "dilation height", "dilation width"};
  uint32_t all[10];
  for (int i = 0; i < 8; ++i) all[i] = geometry[i];
  all[8] = dilation_h;
  all[9] = dilation_w;
  for (int i = 0; i < 10; ++i) {
    const bool padding = i >= 4 && i < 8;
    if (all[i] == 0 && !padding) return at.error.malformed("%s: %s is 0", at.who, kNames[i]);
    if (all[i] > at.limits.extent) {
      return at.error.unsupported("%s: %s is %u, at most %u", at.who, kNames[i], all[i], at.limits.extent);
    }
  }
  uint64_t height = 0, width = 0;
  if (!window_count(at, "height", uint32_t(layer->in.height), all[4], all[6], all[0], all[2], all[8], &height) ||
      !window_count(at, "width", uint32_t(layer->in.width), all[5], all[7], all[1], all[3], all[9], &width) ||
      !set_shape(at, height, width, cout, &layer->out)) {
    return false;
  }
  Window& window = layer->window;
  window.in = layer->in;
  window.out = layer->out;
  window.kernel_h = int(all[0]);
  window.kernel_w = int(all[1]);
  window.stride_h = int(all[2]);
  window.stride_w = int(all[3]);
  window.pad_top = int(all[4]);
  window.pad_left = int(all[5]);
  window.dilation_h = int(all[8]);
  window.dilation_w = int(all[9]);
  return true;
}

// Scale and bias: vectors of `channels`, dense or half, each optional.
bool set_vectors(const Examined& at, const Weight* scale, const Weight* bias, Layer* layer) {
  const uint32_t channels = uint32_t(layer->out.channels);
  for (const Weight* vector : {scale, bias}) {
    const char* name = vector == scale ? "scale" : "bias";
    if (!vector) continue;
    if (vector->rank != 1) return at.error.malformed("%s: its %s has rank %u, expected 1", at.who, name, vector->rank);
    if (vector->shape[0] != channels) {
      return at.error.malformed("%s: its %s has %u values, expected %u", at.who, name, vector->shape[0], channels);
    }
  }
  layer->scale = scale;
  layer->bias = bias;
  return true;
}

bool set_weight(const Examined& at, uint32_t cin, Layer* layer) {
  const Weight* weight = at.node.weights[0];
  if (!weight) return at.error.malformed("%s: it has no weight", at.who);
  const bool conv = at.node.op == Op::kConv2d || at.node.op == Op::kBinaryConv2d || at.node.op == Op::kInt8Conv2d;
  const bool binary = at.node.op == Op::kBinaryConv2d || at.node.op == Op::kBinaryLinear;
  const uint32_t rank = conv ? 4 : 2, cout = uint32_t(layer->out.channels);
  const uint32_t kernel_h = uint32_t(layer->window.kernel_h), kernel_w = uint32_t(layer->window.kernel_w);
  if (weight->rank != rank) {
    return at.error.malformed("%s: its weight has rank %u, expected %u", at.who, weight->rank, rank);
  }
  if (weight->shape[0] != cout || weight->shape[1] != cin || weight->shape[2] != kernel_h ||
      weight->shape[3] != kernel_w) {
    if (conv) {
      return at.error.malformed("%s: its weight is [%u, %u, %u, %u], expected [%u, %u, %u, %u]", at.who,
                                weight->shape[0], weight->shape[1], weight->shape[2], weight->shape[3], cout, cin,
                                kernel_h, kernel_w);
    }
    return at.error.malformed("%s: its weight is [%u, %u], expected [%u, %u]", at.who, weight->shape[0],
                              weight->shape[1], cout, cin);
  }
  if (binary && weight->form != Form::kSign) {
    return at.error.malformed("%s: its weight has form %s, expected sign", at.who, form_name(weight->form));
  }
  if (wants_bytes(at.node.op)) {
    if (weight->form != Form::kCodebook) {
      return at.error.malformed("%s: its weight has form %s, expected codebook", at.who, form_name(weight->form));
    }
    if (!at.node.weights[1]) return at.error.malformed("%s: it has no scale", at.who);
  }
  layer->weight = weight;
  layer->work = saturating_product(saturating_product(uint64_t(layer->out.height) * uint64_t(layer->out.width), cout),
                                   weight->columns());
  return set_vectors(at, at.node.weights[1], at.node.weights[2], layer);
}

bool resolve_conv(const Examined& at, Layer* layer) {
  const uint32_t* attributes = at.node.attributes;
  const uint32_t cout = attributes[0], groups = attributes[11], cin = uint32_t(layer->in.channels);
  if (cout == 0) return at.error.malformed("%s: no output channels", at.who);
  if (groups == 0 || cin % groups || cout % groups) {
    return at.error.malformed("%s: %u groups do not divide %u input and %u output channels", at.who, groups, cin, cout);
  }
  const bool binary = at.node.op == Op::kBinaryConv2d;
  if (binary && groups != 1) {
    return at.error.unsupported("%s: %u groups, this engine runs binary convolutions of one group", at.who, groups);
  }
  if (!set_window(at, attributes + 1, attributes[9], attributes[10], cout, layer)) return false;
  layer->window.groups = int(groups);
  if (!set_activation(at, attributes[12], 0, layer)) return false;
  if (binary && !set_flag(at, "scale_input", attributes[13], &layer->scale_input)) return false;
  if (at.node.op == Op::kInt8Conv2d && !set_level(at, attributes + 13, true, layer)) return false;
  return set_weight(at, cin / groups, layer);
}

bool resolve_linear(const Examined& at, Layer* layer) {
  const uint32_t cout = at.node.attributes[0];
  if (cout == 0) return at.error.malformed("%s: no outputs", at.who);
  if (!is_vector(layer->in)) {
    return at.error.malformed("%s: its input is an image of %d x %d x %d, expected a vector", at.who, layer->in.height,
                              layer->in.width, layer->in.channels);
  }
  if (!set_shape(at, 1, 1, cout, &layer->out) || !set_activation(at, at.node.attributes[1], 0, layer)) return false;
  layer->window.in = layer->in;
  layer->window.out = layer->out;
  if (at.node.op == Op::kBinaryLinear && !set_flag(at, "scale_input", at.node.attributes[2], &layer->scale_input)) {
    return false;
  }
  if (at.node.op == Op::kInt8Linear && !set_level(at, at.node.attributes + 2, true, layer)) return false;
  return set_weight(at, uint32_t(layer->in.channels), layer);
}

bool resolve_pool(const Examined& at, Layer* layer) {
  if (!set_window(at, at.node.attributes, 1, 1, uint32_t(layer->in.channels), layer)) return false;
  const Window& window = layer->window;
  // Windows start one after the other, so it is enough that the first ends, and the last starts, on real pixels.
  const int64_t last_row = int64_t(window.out.height - 1) * window.stride_h - window.pad_top;
  const int64_t last_column = int64_t(window.out.width - 1) * window.stride_w - window.pad_left;
  if (window.kernel_h <= window.pad_top || window.kernel_w <= window.pad_left || last_row >= window.in.height ||
      last_column >= window.in.width) {
    return at.error.malformed("%s: a window lies wholly in the padding", at.who);
  }
  layer->work = saturating_product(layer->out.size(), uint64_t(window.kernel_h) * uint64_t(window.kernel_w));
  if (at.node.op != Op::kAvgPool) return true;
  return set_flag(at, "count_include_pad", at.node.attributes[8], &layer->count_include_pad);
}

bool resolve_add(const Examined& at, const Shape& other, Layer* layer) {
  const Shape& in = layer->in;
  if (in.height != other.height || in.width != other.width || in.channels != other.channels) {
    return at.error.malformed("%s: adds %d x %d x %d and %d x %d x %d", at.who, in.height, in.width, in.channels,
                              other.height, other.width, other.channels);
  }
  return set_activation(at, at.node.attributes[0], 0, layer);
}

bool resolve_concat(const Examined& at, const uint32_t* inputs, const Shape* values, Layer* layer) {
  uint64_t channels = 0;
  for (uint32_t i = 0; i < at.node.input_count; ++i) {
    const Shape& in = values[inputs[i]];
    if (in.height != layer->in.height || in.width != layer->in.width) {
      return at.error.malformed("%s: input %u is %d x %d, the first one %d x %d", at.who, i, in.height, in.width,
                                layer->in.height, layer->in.width);
    }
    channels += uint64_t(in.channels);
  }
  return set_shape(at, uint64_t(layer->in.height), uint64_t(layer->in.width), channels, &layer->out);
}

bool resolve_shuffle(const Examined& at, Layer* layer) {
  const uint32_t groups = at.node.attributes[0], channels = uint32_t(layer->in.channels);
  if (groups == 0 || channels % groups) {
    return at.error.malformed("%s: %u groups do not divide %u channels", at.who, groups, channels);
  }
  layer->window.groups = int(groups);
  return true;
}

// Block height and width, then what is cropped at the top, left, bottom and right.
bool resolve_depth_to_space(const Examined& at, Layer* layer) {
  const uint32_t* attributes = at.node.attributes;
  const uint64_t block_h = attributes[0], block_w = attributes[1], channels = uint64_t(layer->in.channels);
  if (block_h == 0 || block_w == 0 || channels % (block_h * block_w)) {
    return at.error.malformed("%s: blocks of %u x %u do not divide %d channels", at.who, attributes[0], attributes[1],
                              layer->in.channels);
  }
  const uint64_t height = uint64_t(layer->in.height) * block_h, width = uint64_t(layer->in.width) * block_w;
  const uint64_t rows = uint64_t(attributes[2]) + attributes[4], columns = uint64_t(attributes[3]) + attributes[5];
  if (rows >= height || columns >= width) {
    return at.error.malformed("%s: it crops %llu x %llu of %llu x %llu", at.who, static_cast<unsigned long long>(rows),
                              static_cast<unsigned long long>(columns), static_cast<unsigned long long>(height),
                              static_cast<unsigned long long>(width));
  }
  // Blocks are no larger than the channels, so that what set_shape multiplies stays within its bounds.
  if (height > at.limits.extent || width > at.limits.extent) {
    return at.error.unsupported("%s: an image of %llu x %llu is larger than this engine takes", at.who,
                                static_cast<unsigned long long>(height), static_cast<unsigned long long>(width));
  }
  layer->window.stride_h = int(block_h);
  layer->window.stride_w = int(block_w);
  layer->window.pad_top = int(attributes[2]);
  layer->window.pad_left = int(attributes[3]);
  return set_shape(at, height - rows, width - columns, channels / (block_h * block_w), &layer->out);
}

bool resolve_slice(const Examined& at, Layer* layer) {
  const uint64_t first = at.node.attributes[0], count = at.node.attributes[1];
  if (count == 0 || first + count > uint64_t(layer->in.channels)) {
    return at.error.malformed("%s: channels %u to %llu of %d", at.who, at.node.attributes[0],
                              static_cast<unsigned long long>(first + count), layer->in.channels);
  }
  layer->first_channel = int(first);
  return set_shape(at, uint64_t(layer->in.height), uint64_t(layer->in.width), count, &layer->out);
}

bool resolve_layer(const Examined& at, const uint32_t* inputs, const Shape* values, const Layer* layers, Layer* layer) {
  *layer = Layer();
  layer->op = at.node.op;
  layer->node = &at.node;
  layer->index = at.index;
  layer->in = layer->out = values[inputs[0]];
  layer->activation = Activation::kNone;
  if (!check_levels(at, inputs, layers, layer)) return false;
  switch (at.node.op) {
    case Op::kConv2d:
    case Op::kInt8Conv2d:
    case Op::kBinaryConv2d: return resolve_conv(at, layer);
    case Op::kLinear:
    case Op::kInt8Linear:
    case Op::kBinaryLinear: return resolve_linear(at, layer);
    case Op::kMaxPool:
    case Op::kAvgPool: return resolve_pool(at, layer);
    case Op::kGlobalAvgPool: return set_shape(at, 1, 1, uint64_t(layer->in.channels), &layer->out);
    case Op::kAdd: return resolve_add(at, values[inputs[1]], layer);
    case Op::kConcat: return resolve_concat(at, inputs, values, layer);
    case Op::kActivation: return set_activation(at, at.node.attributes[0], 1, layer);
    case Op::kAffine:
      return set_activation(at, at.node.attributes[0], 0, layer) &&
             set_vectors(at, at.node.weights[0], at.node.weights[1], layer);
    case Op::kFlatten: return set_shape(at, 1, 1, layer->in.size(), &layer->out);
    case Op::kSoftmax:
      if (is_vector(layer->in)) return true;
      return at.error.malformed("%s: its input is an image of %d x %d x %d, expected a vector", at.who,
                                layer->in.height, layer->in.width, layer->in.channels);
    case Op::kChannelShuffle: return resolve_shuffle(at, layer);
    case Op::kDepthToSpace: return resolve_depth_to_space(at, layer);
    case Op::kSlice: return resolve_slice(at, layer);
    case Op::kQuantize: return set_level(at, at.node.attributes, false, layer);
    case Op::kDequantize: layer->out_level = Quantization(); return true;
    case Op::kInt8Add:
      return resolve_add(at, values[inputs[1]], layer) && set_level(at, at.node.attributes + 1, false, layer);
    case Op::kInt8GlobalAvgPool:
      return set_shape(at, 1, 1, uint64_t(layer->in.channels), &layer->out) &&
             set_level(at, at.node.attributes, false, layer);
  }
  return at.error.unsupported("%s: unknown op", at.who);
}

}  // namespace

bool resolve_layers(const Network& network, const Limits& limits, Layer* layers, Shape* values, Error& error) {
  const uint64_t pixels = saturating_product(network.height, network.width);
  if (network.height > limits.extent || network.width > limits.extent ||
      saturating_product(pixels, network.channels) > limits.tensor_elements) {
    return error.unsupported("NODE: input of %u x %u x %u is larger than this engine takes", network.height,
                             network.width, network.channels);
  }
  values[0] = Shape{int(network.height), int(network.width), int(network.channels)};
  uint64_t work = values[0].size();
  for (uint32_t i = 0; i < network.node_count; ++i) {
    const Node& node = network.nodes[i];
    const Examined at(i, node, limits, error);
    Layer& layer = layers[i];
    if (!resolve_layer(at, network.inputs + node.first_input, values, layers, &layer)) return false;
    const uint64_t elements = layer.in.size() > layer.out.size() ? layer.in.size() : layer.out.size();
    if (layer.work < elements) layer.work = elements;
    work = layer.work > UINT64_MAX - work ? UINT64_MAX : work + layer.work;
    if (work > limits.work) {
      return error.unsupported("%s: up to here one image takes %llu multiply-accumulates, at most %llu", at.who,
                               static_cast<unsigned long long>(work), static_cast<unsigned long long>(limits.work));
    }
    values[i + 1] = layer.out;
  }
  if (layers[network.node_count - 1].out_level.bytes()) {
    return error.malformed("NODE: the output of the network is bytes, expected float32");
  }
  return true;
}

}  // namespace camfit
