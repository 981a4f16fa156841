// What a file says, after its bytes have been checked but before shapes have.
#pragma once
#include <cstddef>
#include <cstdint>

#include "allocator.h"
#include "load_error.h"
#include "load_limits.h"

namespace camfit {

enum class Op : uint8_t {
  kConv2d = 1,
  kLinear = 2,
  kBinaryConv2d = 3,
  kBinaryLinear = 4,
  kMaxPool = 5,
  kAvgPool = 6,
  kGlobalAvgPool = 7,
  kAdd = 8,
  kConcat = 9,
  kActivation = 10,
  kAffine = 11,
  kFlatten = 12,
  kSoftmax = 13,
  kChannelShuffle = 14,
  kQuantize = 15,
  kDequantize = 16,
  kInt8Conv2d = 17,
  kInt8Linear = 18,
  kInt8Add = 19,
  kInt8GlobalAvgPool = 20,
  kDepthToSpace = 21,
  kSlice = 22,
};

enum class Form : uint8_t { kDense = 0, kHalf = 1, kCodebook = 2, kHashed = 3, kSign = 4, kSparse = 5 };

constexpr uint32_t kOneHash = uint32_t(1) << 31;  // in the K of a hashed weight

// How an op is written in the NODE section.
struct OpLayout {
  const char* name;
  uint8_t attributes, weights;
  uint8_t least_inputs, most_inputs;
};
const OpLayout* op_layout(uint8_t op);  // null for an unknown op
const char* form_name(Form form);

constexpr int kMaxAttributes = 15;
constexpr int kMaxWeights = 3;

struct Section {
  const uint8_t* data = nullptr;
  uint32_t size = 0;
};

struct Sections {
  uint32_t version = 0;
  Section info, nodes, weights, blob;
};

struct Weight {
  Form form;
  uint8_t rank;
  uint32_t shape[4];  // padded with 1
  uint32_t payload_size;
  const uint8_t* payload;

  uint64_t elements() const { return uint64_t(shape[0]) * shape[1] * shape[2] * shape[3]; }
  // A weight as a matrix: output channels by the rest.
  uint32_t rows() const { return shape[0]; }
  uint32_t columns() const { return uint32_t(uint64_t(shape[1]) * shape[2] * shape[3]); }
};

struct Node {
  Op op;
  uint8_t input_count;
  uint8_t name_length;
  const char* name;  // in the file, not terminated
  uint32_t first_input;  // index into Network::inputs
  uint32_t attributes[kMaxAttributes];
  const Weight* weights[kMaxWeights];  // null: none
};

struct Network {
  uint32_t height = 0, width = 0, channels = 0;
  float* scale = nullptr;  // [channels], the input's normalisation
  float* shift = nullptr;
  Node* nodes = nullptr;
  uint32_t node_count = 0;
  uint32_t* inputs = nullptr;
  Weight* weights = nullptr;
  uint32_t weight_count = 0;
};

// The three stages of reading. Each returns false with `error` set. Arrays come from `allocator`.
bool read_sections(const uint8_t* data, size_t size, Sections* out, Error& error);
bool read_weight_table(const Sections& sections, const Limits& limits, Allocator& allocator, Network* out,
                       Error& error);
bool read_nodes(const Sections& sections, const Limits& limits, Allocator& allocator, Network* out, Error& error);

}  // namespace camfit
