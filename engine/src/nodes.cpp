// The NODE section: input, normalisation and the list of nodes. Shapes are the business of layers.cpp.
#include <cmath>

#include "cursor.h"
#include "network.h"
#include "utf8.h"

namespace camfit {
namespace {

constexpr OpLayout kOps[] = {
    {"conv2d", 13, 3, 1, 1},        {"linear", 2, 3, 1, 1},    {"binary_conv2d", 14, 3, 1, 1},
    {"binary_linear", 3, 3, 1, 1},  {"max_pool", 8, 0, 1, 1},  {"avg_pool", 9, 0, 1, 1},
    {"global_avg_pool", 0, 0, 1, 1}, {"add", 1, 0, 2, 2},       {"concat", 0, 0, 1, 255},
    {"activation", 1, 0, 1, 1},     {"affine", 1, 2, 1, 1},    {"flatten", 0, 0, 1, 1},
    {"softmax", 0, 0, 1, 1},        {"channel_shuffle", 1, 0, 1, 1}, {"quantize", 2, 0, 1, 1},
    {"dequantize", 0, 0, 1, 1},     {"int8_conv2d", 15, 3, 1, 1},    {"int8_linear", 4, 3, 1, 1},
    {"int8_add", 3, 0, 2, 2},       {"int8_global_avg_pool", 2, 0, 1, 1},
    {"depth_to_space", 6, 0, 1, 1}, {"slice", 2, 0, 1, 1},
};

bool printable(const uint8_t* name, size_t length) {
  for (size_t i = 0; i < length; ++i) {
    if (name[i] < 32 || name[i] == 127) return false;
  }
  return utf8_valid(name, length);
}

bool read_input(Cursor& section, const Limits& limits, Allocator& allocator, Network* out, Error& error) {
  out->height = section.varint();
  out->width = section.varint();
  out->channels = section.varint();
  if (!section.ok()) return error.malformed("NODE: input shape: %s", section.problem());
  if (out->height == 0 || out->width == 0 || out->channels == 0) {
    return error.malformed("NODE: input of %u x %u x %u, expected at least 1 x 1 x 1", out->height, out->width,
                           out->channels);
  }
  constexpr size_t kChannelBytes = 8;
  if (out->channels > section.left() / kChannelBytes) {
    return error.malformed("NODE: normalisation of %u channels in %zu bytes", out->channels, section.left());
  }
  if (out->channels > limits.tensor_elements) return error.unsupported("NODE: input of %u channels", out->channels);
  out->scale = allocator.take<float>(out->channels);
  out->shift = allocator.take<float>(out->channels);
  if (!out->scale || !out->shift) return error.out_of_memory(allocator, "the input's normalisation");
  for (uint32_t c = 0; c < out->channels; ++c) {
    out->scale[c] = section.f32();
    out->shift[c] = section.f32();
    if (!std::isfinite(out->scale[c]) || !std::isfinite(out->shift[c])) {
      return error.malformed("NODE: the normalisation of channel %u is not finite", c);
    }
  }
  return true;
}

bool read_node(Cursor& section, uint32_t index, uint32_t first_input, Network* out, Error& error) {
  const uint8_t op = section.u8();
  if (!section.ok()) return error.malformed("NODE: node %u: %s", index, section.problem());
  const OpLayout* layout = op_layout(op);
  if (!layout) return error.unsupported("NODE: node %u has unknown op %u", index, op);

  Node& node = out->nodes[index];
  node = Node();
  node.op = Op(op);
  const uint32_t length = section.varint();
  if (length > 255) return error.malformed("NODE: node %u has a name of %u bytes, at most 255", index, length);
  const uint8_t* name = section.bytes(length);
  if (!section.ok()) return error.malformed("NODE: node %u (%s): %s", index, layout->name, section.problem());
  if (!printable(name, length)) {
    return error.malformed("NODE: node %u (%s): its name is not UTF-8 without control characters", index, layout->name);
  }
  node.name = reinterpret_cast<const char*>(name);
  node.name_length = uint8_t(length);
  const Quoted quoted(node.name, node.name_length);

  node.input_count = section.u8();
  node.first_input = first_input;
  if (section.ok() && (node.input_count < layout->least_inputs || node.input_count > layout->most_inputs)) {
    return error.malformed("NODE: node %u '%s' (%s) has %u inputs, expected %u%s", index, quoted.text, layout->name,
                           node.input_count, layout->least_inputs, layout->most_inputs > 2 ? " to 255" : "");
  }
  for (uint32_t i = 0; i < node.input_count; ++i) {
    const uint32_t value = section.varint();
    if (!section.ok()) break;
    if (value > index) {
      return error.malformed("NODE: node %u '%s' reads value %u but only %u exist", index, quoted.text, value,
                             index + 1);
    }
    out->inputs[first_input + i] = value;
  }
  for (uint32_t i = 0; i < layout->attributes; ++i) node.attributes[i] = section.varint();
  for (uint32_t i = 0; i < layout->weights; ++i) {
    const uint32_t reference = section.varint();
    if (reference > out->weight_count) {
      return error.malformed("NODE: node %u '%s' refers to weight %u but only %u exist", index, quoted.text,
                             reference - 1, out->weight_count);
    }
    node.weights[i] = reference ? &out->weights[reference - 1] : nullptr;
  }
  if (!section.ok()) {
    return error.malformed("NODE: node %u '%s': byte %zu: %s", index, quoted.text, section.position(),
                           section.problem());
  }
  return true;
}

}  // namespace

const OpLayout* op_layout(uint8_t op) {
  return op >= 1 && op <= sizeof kOps / sizeof kOps[0] ? &kOps[op - 1] : nullptr;
}

bool read_nodes(const Sections& sections, const Limits& limits, Allocator& allocator, Network* out, Error& error) {
  Cursor section(sections.nodes.data, sections.nodes.size);
  if (!read_input(section, limits, allocator, out, error)) return false;
  const uint32_t count = section.varint();
  if (!section.ok()) return error.malformed("NODE: node count: %s", section.problem());
  if (count == 0) return error.malformed("NODE: no nodes, expected at least one");
  if (count > limits.nodes) return error.unsupported("NODE: %u nodes, at most %u", count, limits.nodes);
  constexpr size_t kLeastNode = 4;  // op, empty name, input count, one input
  if (count > section.left() / kLeastNode) return error.malformed("NODE: %u nodes in %zu bytes", count, section.left());

  out->nodes = allocator.take<Node>(count);
  out->inputs = allocator.take<uint32_t>(section.left());  // an input takes at least a byte
  if (!out->nodes || !out->inputs) return error.out_of_memory(allocator, "the list of nodes");
  out->node_count = count;
  uint32_t inputs = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (!read_node(section, i, inputs, out, error)) return false;
    inputs += out->nodes[i].input_count;
  }
  if (section.left()) return error.malformed("NODE: %zu bytes left over after the last node", section.left());
  return true;
}

}  // namespace camfit
