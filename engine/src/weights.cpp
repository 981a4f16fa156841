#include "weights.h"

#include <cstdio>
#include <cstring>

#include "cursor.h"
#include "weight_holder.h"
#include "winograd/winograd.h"

namespace camfit {
namespace {

bool finite(const uint8_t* values, uint64_t count, int bytes) {
  for (uint64_t i = 0; i < count; ++i, values += bytes) {
    const bool all_ones = bytes == 2 ? (load_u16(values) & 0x7C00) == 0x7C00
                                     : (load_u32(values) & 0x7F800000) == 0x7F800000;  // of the exponent
    if (all_ones) return false;
  }
  return true;
}

}  // namespace

bool read_floats(const Holder& at, const char* what, const uint8_t* values, uint64_t count, const float** out) {
  if (!finite(values, count, 4)) return at.error.malformed("%s: a %s is not finite", at.who, what);
  float* floats = at.allocator.take<float>(count);
  if (!floats) return at.no_memory();
  for (uint64_t i = 0; i < count; ++i) floats[i] = load_f32(values + 4 * i);
  *out = floats;
  return true;
}

// For the way of Winograd: each panel is filled aside, and transformed to its place.
static bool fill_winograd(const Holder& at, const Window& window, int tile, HeldWeights* out) {
  const size_t floats = winograd_panel_floats(window, tile);
  const int count = panel_count(out->source);
  float* panels = at.allocator.take<float>(uint64_t(floats) * uint64_t(count));
  float* plain = at.allocator.take<float>(panel_floats(out->source));
  if (!panels || !plain) return at.no_memory();
  for (int p = 0; p < count; ++p) {
    fill_panel(out->source, at.kernels, p, plain);
    winograd_panel(window, tile, plain, panels + floats * size_t(p));
  }
  at.allocator.give(plain);
  out->held = Held::kWinograd;
  out->tile = tile;
  out->floats = panels;
  return true;
}

bool fill_all_panels(const Holder& at, HeldWeights* out) {
  const Window window = at.window();
  const bool may = at.layer.op == Op::kConv2d && at.mode == CAMFIT_SPEED;  // it holds up to four times the weights
  if (const int tile = may ? at.kernels.winograd_tile(window) : 0) return fill_winograd(at, window, tile, out);
  const size_t floats = panel_floats(out->source);
  const int count = panel_count(out->source);
  float* panels = at.allocator.take<float>(uint64_t(floats) * uint64_t(count));
  if (!panels) return at.no_memory();
  for (int p = 0; p < count; ++p) fill_panel(out->source, at.kernels, p, panels + floats * size_t(p));
  out->held = Held::kPanels;
  out->floats = panels;
  return true;
}

// Each panel of a depthwise convolution has one lane in use: [kernel] of one channel.
bool fill_depthwise(const Holder& at, HeldWeights* out) {
  const size_t kernel = size_t(out->source.kernel), channels = size_t(out->source.cout);
  float* floats = at.allocator.take<float>(uint64_t(kernel) * channels);
  float* panel = at.allocator.take<float>(panel_floats(out->source));
  if (!floats || !panel) return at.no_memory();
  for (size_t c = 0; c < channels; ++c) {
    fill_panel(out->source, at.kernels, int(c), panel);
    for (size_t k = 0; k < kernel; ++k) floats[k * channels + c] = panel[k * kPanel];
  }
  at.allocator.give(panel);
  out->held = Held::kDepthwise;
  out->floats = floats;
  return true;
}

namespace {

// A scale or bias vector, null where the layer has none.
bool read_vector(const Holder& at, const char* what, const Weight* weight, const float** out) {
  *out = nullptr;
  if (!weight) return true;
  const uint64_t count = weight->elements();
  if (weight->form == Form::kDense) return read_floats(at, what, weight->payload, count, out);
  if (!finite(weight->payload, count, 2)) return at.error.malformed("%s: a %s is not finite", at.who, what);
  float* floats = at.allocator.take<float>(count);
  if (!floats) return at.no_memory();
  for (uint64_t i = 0; i < count; ++i) floats[i] = load_half(weight->payload + 2 * i);
  *out = floats;
  return true;
}

bool check_signs(const Holder& at, const uint8_t* signs) {
  const uint64_t elements = at.layer.weight->elements();
  if (elements % 8 && signs[elements / 8] >> elements % 8) {
    return at.error.malformed("%s: the bits after the last sign are not 0", at.who);
  }
  return true;
}

// 64 bits of a bit string from bit `at` on, zeros behind its last byte.
uint64_t bits_from(const uint8_t* signs, size_t bytes, size_t at) {
  const size_t byte = at / 8;
  uint64_t low = 0;
  if (byte + 8 < bytes) {
    low = load_u32(signs + byte) | uint64_t(load_u32(signs + byte + 4)) << 32;
    return at % 8 ? low >> at % 8 | uint64_t(signs[byte + 8]) << (64 - at % 8) : low;
  }
  for (size_t i = 0; byte + i < bytes && i < 8; ++i) low |= uint64_t(signs[byte + i]) << 8 * i;
  return low >> at % 8;
}

// Bits at, at + kernel, at + 2 kernel, ... of the string: one kernel position of up to 64 channels.
uint64_t channel_bits(const uint8_t* signs, size_t bytes, size_t at, size_t kernel, size_t channels) {
  uint64_t word = 0;
  if (kernel == 1) {
    word = bits_from(signs, bytes, at);
  } else if (kernel == 9) {
    // Seven channels at a time: the product moves bit 9j to 56 + j, and none of the others there.
    constexpr uint64_t kNinth = 0x0040201008040201, kTogether = 0x0101010101010100;
    for (size_t c = 0; c < channels; c += 7) {
      word |= ((bits_from(signs, bytes, at + 9 * c) & kNinth) * kTogether >> 56) << c;
    }
  } else {
    for (size_t c = 0; c < channels; ++c, at += kernel) word |= uint64_t(signs[at / 8] >> at % 8 & 1) << c;
  }
  return channels < 64 ? word & ((uint64_t(1) << channels) - 1) : word;
}

// Row-major bits -> words of 64 channels per kernel position, and α into the epilogue's scale.
bool hold_binary(const Holder& at, const float* alpha, const uint8_t* signs, HeldWeights* out) {
  const size_t cout = size_t(out->source.cout), cin = size_t(out->source.cin_group);
  const size_t kernel = size_t(out->source.kernel), bytes = (cout * cin * kernel + 7) / 8;
  const size_t words_of_pixel = (cin + 63) / 64;
  uint64_t* words = at.allocator.take<uint64_t>(uint64_t(cout) * kernel * words_of_pixel);
  float* scale = at.allocator.take<float>(cout);
  if (!words || !scale) return at.no_memory();
  uint64_t* word = words;
  for (size_t o = 0; o < cout; ++o) {
    scale[o] = (out->epilogue.scale ? out->epilogue.scale[o] : 1.0f) * alpha[o];
    for (size_t k = 0; k < kernel; ++k) {
      for (size_t c = 0; c < cin; c += 64) {
        *word++ = channel_bits(signs, bytes, (o * cin + c) * kernel + k, kernel, cin - c < 64 ? cin - c : 64);
      }
    }
  }
  at.allocator.give(const_cast<float*>(out->epilogue.scale));
  out->epilogue.scale = scale;
  out->held = Held::kSigns;
  out->words = words;
  return true;
}

bool hold_sign(const Holder& at, bool binary, bool depthwise, HeldWeights* out) {
  const Weight& weight = *at.layer.weight;
  const uint8_t* signs = weight.payload + 4 * size_t(weight.rows());
  const float* alpha = nullptr;
  if (!check_signs(at, signs)) return false;
  if (!read_floats(at, "scale of a sign", weight.payload, weight.rows(), &alpha)) return false;
  out->source.alpha = alpha;
  out->source.signs = signs;
  if (binary || at.mode == CAMFIT_SPEED || depthwise) {
    const bool held = binary      ? hold_binary(at, alpha, signs, out)
                      : depthwise ? fill_depthwise(at, out)
                                  : fill_all_panels(at, out);
    at.allocator.give(const_cast<float*>(alpha));
    return held;
  }
  const size_t bytes = (weight.elements() + 7) / 8;
  uint8_t* copy = at.allocator.take<uint8_t>(bytes);
  if (!copy) return at.no_memory();
  std::memcpy(copy, signs, bytes);
  out->source.signs = copy;
  out->held = Held::kExpand;
  return true;
}

bool hold_dense(const Holder& at, bool depthwise, HeldWeights* out) {
  const Weight& weight = *at.layer.weight;
  if (!finite(weight.payload, weight.elements(), 4)) return at.error.malformed("%s: a weight is not finite", at.who);
  out->source.dense = weight.payload;
  return depthwise ? fill_depthwise(at, out) : fill_all_panels(at, out);
}

bool hold_hashed(const Holder& at, bool linear, bool depthwise, HeldWeights* out) {
  const Weight& weight = *at.layer.weight;
  HashedRows& hashed = out->source.hashed;
  hashed.seed = load_u32(weight.payload);
  hashed.buckets = load_u32(weight.payload + 4) & ~kOneHash;
  hashed.one_hash = load_u32(weight.payload + 4) & kOneHash;
  hashed.columns = weight.columns();
  out->params = hashed.buckets;
  if (!read_floats(at, "bucket", weight.payload + 8, hashed.buckets, &hashed.bucket)) return false;
  if (!depthwise) {  // in both modes: the matrix is never held, a convolution makes one panel of it at a time
    out->held = linear ? Held::kHashed : Held::kExpand;
    return true;
  }
  if (!fill_depthwise(at, out)) return false;
  at.allocator.give(const_cast<float*>(hashed.bucket));
  return true;
}

}  // namespace

bool hold_weights(const Layer& layer, camfit_mode mode, const Kernels& kernels, Allocator& allocator, HeldWeights* out,
                  Error& error) {
  const Quoted name(layer.node->name, layer.node->name_length);
  Holder at{layer, mode, kernels, allocator, error, ""};
  std::snprintf(at.who, sizeof at.who, "BLOB: weights of node %u '%s'", layer.index, name.text);

  *out = HeldWeights();
  out->epilogue.activation = layer.activation;
  if (!read_vector(at, "scale", layer.scale, &out->epilogue.scale) ||
      !read_vector(at, "bias", layer.bias, &out->epilogue.bias)) {
    return false;
  }
  if (!layer.weight) return true;

  const Window& window = layer.window;
  MatrixSource& source = out->source;
  source.form = layer.weight->form;
  source.cout = layer.out.channels;
  source.groups = window.groups;
  source.cin_group = layer.in.channels / window.groups;
  source.kernel = window.kernel_h * window.kernel_w;
  out->nonzeros = out->params = layer.weight->elements();
  const bool linear = layer.op == Op::kLinear;
  const bool binary = layer.op == Op::kBinaryConv2d || layer.op == Op::kBinaryLinear;
  const bool depthwise = window.groups > 1 && window.groups == layer.in.channels && window.groups == layer.out.channels;
  if (layer.op == Op::kInt8Conv2d || layer.op == Op::kInt8Linear) {
    return hold_int8(at, depthwise, out->epilogue.scale, out->epilogue.bias, out);
  }
  switch (source.form) {
    case Form::kDense: return hold_dense(at, depthwise, out);
    case Form::kCodebook: return hold_codebook(at, linear, depthwise, out);
    case Form::kHashed: return hold_hashed(at, linear, depthwise, out);
    case Form::kSign: return hold_sign(at, binary, depthwise, out);
    case Form::kSparse: return hold_sparse(at, linear, depthwise, out);
    case Form::kHalf: break;
  }
  return error.malformed("%s: form %s is not for weight matrices", at.who, form_name(source.form));
}

}  // namespace camfit
