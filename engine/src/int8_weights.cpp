// Integer layers: from the stored integers and scales to panels, multipliers and shifts. All real arithmetic is in
// double precision, of operations that IEEE 754 rounds correctly, so it gives the same integers on every processor.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "linear_sparse/regroup.h"
#include "weight_holder.h"

namespace camfit {
namespace {

constexpr double kLargestSum = 2147483647.0, kLargestLevel = 1073741824.0;  // 2^31 - 1, 2^30

int rounded_to_int(double value) { return int(std::floor(value + 0.5)); }

// Bounds of the levels, with the activation in them.
void set_bounds(const Quantization& level, Activation activation, int* low, int* high) {
  *low = activation == Activation::kNone ? 0 : level.zero;
  *high = 255;
  if (activation != Activation::kRelu6) return;
  const double six = std::floor(6.0 / double(level.scale) + 0.5) + level.zero;
  if (six < 255.0) *high = int(six);
}

// A codebook's values as integers.
bool integers_of(const Holder& at, const float* codebook, uint32_t entries, int8_t* out) {
  for (uint32_t i = 0; i < entries; ++i) {
    const float value = codebook[i];
    if (!(value >= -127.0f && value <= 127.0f) || value != std::floor(value)) {
      return at.error.malformed("%s: a codebook value is %g, expected an integer of -127 to 127", at.who, double(value));
    }
    out[i] = int8_t(value);
  }
  return true;
}

// From codes in the file's order, (channel, kernel), to integers in the order of panels, (kernel, channel).
void integers_of_bytes(const MatrixSource& source, uint32_t rows, const int8_t* level, int8_t* out) {
  const size_t kernel = size_t(source.kernel), channels = size_t(source.cin_group);
  const uint8_t* code = source.bytes;
  for (uint32_t r = 0; r < rows; ++r, out += kernel * channels) {
    for (size_t c = 0; c < channels; ++c) {
      for (size_t k = 0; k < kernel; ++k) out[k * channels + c] = level[*code++];
    }
  }
}

// The integers of a matrix [rows][columns], columns in panel order.
bool read_integers(const Holder& at, HeldWeights* out, int8_t** integers) {
  const Weight& weight = *at.layer.weight;
  MatrixSource& source = out->source;
  CodebookHead head;
  if (!read_head(at, weight.payload, weight.payload_size, &head)) return false;
  if (head.bytes) {
    if (!read_bytes(at, weight.payload, weight.payload_size, head, &source)) return false;
    out->nonzeros = head.nonzeros;
  } else if (!read_codebook(at, weight.payload, weight.payload_size, &source, &head.entries, &out->nonzeros)) {
    return false;
  }
  out->params = out->nonzeros;
  int8_t* level = at.allocator.take<int8_t>(head.entries);
  int8_t* all = at.allocator.take<int8_t>(weight.elements());
  if (!level || !all) return at.no_memory();
  const SparseRows& rows = source.sparse;
  if (!integers_of(at, rows.codebook, head.entries, level)) return false;
  if (source.bytes) {
    integers_of_bytes(source, weight.rows(), level, all);
  } else {
    std::memset(all, 0, weight.elements());
    for (uint32_t r = 0; r < weight.rows(); ++r) {
      int8_t* row = all + uint64_t(r) * weight.columns();
      for (uint32_t e = rows.row_begin[r]; e < rows.row_begin[r + 1]; ++e) row[column_of(rows, e)] = level[rows.code[e]];
    }
  }
  at.allocator.give(level);
  at.allocator.give(const_cast<uint8_t*>(source.bytes));
  give_sparse(at.allocator, rows);
  *integers = all;
  return true;
}

// Bias, multipliers and shifts, or scales, of every output channel, filled up to whole panels.
bool set_requantize(const Holder& at, const float* scale, const float* bias, const int8_t* integers, Requantize* to) {
  const Layer& layer = at.layer;
  const uint32_t channels = layer.weight->rows(), columns = layer.weight->columns();
  const uint64_t padded = uint64_t(channels) + kPanel;  // vectors of a group's last panel read past its channels
  const bool bytes = layer.out_level.bytes();
  int32_t* sums = at.allocator.take<int32_t>(padded);
  int32_t* multiplier = bytes ? at.allocator.take<int32_t>(padded) : nullptr;
  int32_t* shift = bytes ? at.allocator.take<int32_t>(padded) : nullptr;
  float* real = bytes ? nullptr : at.allocator.take<float>(padded);
  if (!sums || (bytes && (!multiplier || !shift)) || (!bytes && !real)) return at.no_memory();
  std::memset(sums, 0, padded * sizeof *sums);
  if (bytes) std::memset(multiplier, 0, padded * sizeof *multiplier);
  for (uint64_t c = 0; c < padded; ++c) bytes ? void(shift[c] = 1) : void(real[c] = 0.0f);

  for (uint32_t c = 0; c < channels; ++c) {
    if (!(scale[c] > 0.0f)) return at.error.malformed("%s: the scale of output %u is %g, expected more than 0", at.who, c,
                                                      double(scale[c]));
    int64_t sum = 0, magnitude = 0;
    for (uint32_t j = 0; j < columns; ++j) {
      const int w = integers[uint64_t(c) * columns + j];
      sum += w;
      magnitude += w < 0 ? -w : w;
    }
    const double unit = double(layer.in_level.scale) * double(scale[c]);
    const double offset = bias ? std::floor(double(bias[c]) / unit + 0.5) : 0.0;
    const double largest = 255.0 * double(magnitude) + std::fabs(offset);
    if (!(largest <= kLargestSum)) {
      return at.error.unsupported("%s: the sums of output %u reach %g, beyond 32 bits", at.who, c, largest);
    }
    sums[c] = int32_t(int64_t(offset) - layer.in_level.zero * sum);
    if (!bytes) {
      real[c] = float(unit);
      if (!std::isfinite(real[c])) return at.error.malformed("%s: the scale of output %u is too large", at.who, c);
      continue;
    }
    const double ratio = unit / double(layer.out_level.scale);
    if (!(largest * ratio < kLargestLevel) || !int8_multiplier(ratio, &multiplier[c], &shift[c])) {
      return at.error.unsupported("%s: output %u reaches %g steps of its scale, more than this engine takes", at.who, c,
                                  largest * ratio);
    }
  }
  *to = Requantize{sums, multiplier, shift, real, layer.out_level.zero, 0, 255, layer.activation, nullptr};
  if (bytes) set_bounds(layer.out_level, layer.activation, &to->low, &to->high);
  return true;
}

bool fill_int8_panels(const Holder& at, const int8_t* integers, HeldInt8* out) {
  const Window window = at.window();
  const int panels = int8_panel_count(window), quads = quads_of(window);
  const uint64_t bytes = uint64_t(panels) * uint64_t(quads) * kPanel * kQuad;
  int8_t* values = at.allocator.take<int8_t>(bytes);
  if (!values) return at.no_memory();
  int8_panels(window, integers, values);
  out->panels.values = values;
  out->panels.together = 1;
  if (!at.kernels.int8->extras) return true;
  out->panels.together = int8_together(window, values);
  const uint32_t count = int8_extras(window, out->panels.together, values, nullptr, nullptr, nullptr);
  if (count == 0) return true;
  uint32_t* begin = at.allocator.take<uint32_t>(uint64_t(panels) + 1);
  uint32_t* quad = at.allocator.take<uint32_t>(count);
  int8_t* extra = at.allocator.take<int8_t>(uint64_t(count) * kPanel * kQuad);
  if (!begin || !quad || !extra) return at.no_memory();
  int8_extras(window, out->panels.together, values, begin, quad, extra);
  out->panels.extra_begin = begin;
  out->panels.extra_quad = quad;
  out->panels.extra = extra;
  return true;
}

bool fill_int8_pairs(const Holder& at, const int8_t* integers, HeldInt8* out) {
  int16_t* pairs = at.allocator.take<int16_t>(int8_pairs_size(at.window()));
  if (!pairs) return at.no_memory();
  int8_pairs(at.window(), integers, pairs);
  out->pairs = pairs;
  return true;
}

bool fill_blocks(const Holder& at, Requantize* to) {
  if (!at.layer.out_level.bytes()) return true;
  RequantizeBlock* blocks = at.allocator.take<RequantizeBlock>(uint64_t(int8_block_count(at.window())));
  if (!blocks) return at.no_memory();
  int8_blocks(at.window(), *to, blocks);
  to->blocks = blocks;
  return true;
}

}  // namespace

bool hold_int8(const Holder& at, bool depthwise, const float* scale, const float* bias, HeldWeights* out) {
  int8_t* integers = nullptr;
  if (!read_integers(at, out, &integers) || !set_requantize(at, scale, bias, integers, &out->int8.to)) return false;
  const bool held = depthwise ? fill_int8_pairs(at, integers, &out->int8) : fill_int8_panels(at, integers, &out->int8);
  at.allocator.give(integers);
  at.allocator.give(const_cast<float*>(scale));
  at.allocator.give(const_cast<float*>(bias));
  out->epilogue.scale = out->epilogue.bias = nullptr;
  out->held = depthwise ? Held::kInt8Depthwise : Held::kInt8;
  return held && fill_blocks(at, &out->int8.to);
}

static bool set_sum(const Layer& layer, const char* who, Int8Sum* out, Error& error) {
  const double a = double(layer.in_level.scale) / double(layer.out_level.scale);
  const double b = double(layer.other_level.scale) / double(layer.out_level.scale);
  int exponent = 0;
  std::frexp(a > b ? a : b, &exponent);
  if (exponent > 20) return error.unsupported("%s: its inputs' scales are too large for its output's", who);
  out->shift = 21 - exponent < 30 ? 21 - exponent : 30;
  out->a_zero = layer.in_level.zero;
  out->b_zero = layer.other_level.zero;
  out->a_multiplier = rounded_to_int(std::ldexp(a, out->shift));
  out->b_multiplier = rounded_to_int(std::ldexp(b, out->shift));
  out->zero = layer.out_level.zero;
  set_bounds(layer.out_level, layer.activation, &out->low, &out->high);
  return true;
}

static bool set_mean(const Layer& layer, const char* who, Allocator& allocator, Requantize* out, Error& error) {
  const uint64_t pixels = uint64_t(layer.in.height) * uint64_t(layer.in.width);
  const double ratio = double(layer.in_level.scale) / (double(layer.out_level.scale) * double(pixels));
  int32_t* numbers = allocator.take<int32_t>(3);
  if (!numbers) return error.out_of_memory(allocator, who);
  if (pixels > kLargestSum / 255 || !(255.0 * double(pixels) * ratio < kLargestLevel) ||
      !int8_multiplier(ratio, &numbers[1], &numbers[2])) {
    return error.unsupported("%s: the mean of %llu pixels reaches %g steps of its scale", who,
                             static_cast<unsigned long long>(pixels), 255.0 * double(pixels) * ratio);
  }
  numbers[0] = int32_t(-int64_t(layer.in_level.zero) * int64_t(pixels));
  *out = Requantize{numbers, numbers + 1, numbers + 2, nullptr, layer.out_level.zero, 0, 255, Activation::kNone, nullptr};
  return true;
}

bool hold_int8_arithmetic(const Layer& layer, Allocator& allocator, HeldInt8* out, Error& error) {
  const Quoted name(layer.node->name, layer.node->name_length);
  char who[96];
  std::snprintf(who, sizeof who, "NODE: node %u '%s' (%s)", layer.index, name.text, op_layout(uint8_t(layer.op))->name);
  if (layer.op == Op::kInt8Add) return set_sum(layer, who, &out->sum, error);
  if (layer.op == Op::kInt8GlobalAvgPool) return set_mean(layer, who, allocator, &out->to, error);
  set_bounds(layer.out_level, layer.activation, &out->to.low, &out->to.high);
  return true;
}

}  // namespace camfit
