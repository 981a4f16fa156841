// Writes .camfit files for the engine's own tests (docs/format.md).
#pragma once
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "camfit.h"
#include "codec/encode.h"
#include "crc32.h"

namespace camfit_test {

using Bytes = std::vector<uint8_t>;

inline void put_u16(Bytes& out, uint32_t value) {
  out.push_back(uint8_t(value));
  out.push_back(uint8_t(value >> 8));
}
inline void put_u32(Bytes& out, uint32_t value) {
  put_u16(out, value & 0xFFFF);
  put_u16(out, value >> 16);
}
inline void put_float(Bytes& out, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  put_u32(out, bits);
}
inline void put_varint(Bytes& out, uint32_t value) {
  for (; value > 127; value >>= 7) out.push_back(uint8_t(value | 128));
  out.push_back(uint8_t(value));
}
inline void put(Bytes& out, const Bytes& more) { out.insert(out.end(), more.begin(), more.end()); }

// The four sections INFO, NODE, WGHT, BLOB under a correct header.
inline Bytes assemble(const Bytes (&sections)[4]) {
  const char* const tags[4] = {"INFO", "NODE", "WGHT", "BLOB"};
  uint32_t offset = 84, length = offset;
  for (const Bytes& section : sections) length += uint32_t(section.size());
  Bytes file = {0x89, 'c', 'a', 'm', 'f', 'i', 't', '\n'};
  put_u16(file, CAMFIT_FORMAT_VERSION);
  put_u16(file, 4);
  put_u32(file, length);
  for (int i = 0; i < 4; ++i) {
    file.insert(file.end(), tags[i], tags[i] + 4);
    put_u32(file, offset);
    put_u32(file, uint32_t(sections[i].size()));
    put_u32(file, camfit::crc32(sections[i].data(), sections[i].size()));
    offset += uint32_t(sections[i].size());
  }
  put_u32(file, camfit::crc32(file.data(), file.size()));
  for (const Bytes& section : sections) put(file, section);
  return file;
}

// A network with random weights. Methods add nodes and return the id of their value.
class NetworkBuilder {
 public:
  // Of all channels: x = raw * scale + shift.
  NetworkBuilder(uint32_t height, uint32_t width, uint32_t channels, float scale = 0.01f, float shift = -1.0f) {
    for (uint32_t dimension : {height, width, channels}) put_varint(head_, dimension);
    for (uint32_t c = 0; c < channels; ++c) {
      put_float(head_, scale);
      put_float(head_, shift);
    }
  }

  uint32_t node(uint8_t op, std::initializer_list<uint32_t> inputs, const std::vector<uint32_t>& rest) {
    const std::string name = "node" + std::to_string(nodes_);
    nodes_bytes_.push_back(op);
    put_varint(nodes_bytes_, uint32_t(name.size()));
    nodes_bytes_.insert(nodes_bytes_.end(), name.begin(), name.end());
    nodes_bytes_.push_back(uint8_t(inputs.size()));
    for (uint32_t input : inputs) put_varint(nodes_bytes_, input);
    for (uint32_t value : rest) put_varint(nodes_bytes_, value);
    return ++nodes_;
  }

  // op 1, or 3 with scale_input; a kernel of `size` with stride 1 and padding that keeps the image's size (size odd).
  uint32_t conv(uint8_t op, uint32_t in, uint32_t cout, uint32_t size, uint32_t groups, uint32_t weight) {
    const uint32_t pad = size / 2;
    std::vector<uint32_t> rest = {cout, size, size, 1, 1, pad, pad, pad, pad, 1, 1, groups, 1};
    if (op == 3) rest.push_back(1);
    rest.insert(rest.end(), {weight, 0, vector(cout)});
    return node(op, {in}, rest);
  }
  uint32_t linear(uint8_t op, uint32_t in, uint32_t cout, uint32_t weight) {
    std::vector<uint32_t> rest = {cout, 0};
    if (op == 4) rest.push_back(1);
    rest.insert(rest.end(), {weight, 0, vector(cout)});
    return node(op, {in}, rest);
  }
  // Integer layers. Their output is bytes of a scale and zero point, or floats where the scale is 0; biases are of up to
  // 32 steps.
  struct Level {
    float scale;
    uint32_t zero;
  };
  static uint32_t bits(float value) {
    uint32_t result;
    std::memcpy(&result, &value, sizeof result);
    return result;
  }
  uint32_t int8_conv(uint32_t in, uint32_t cin, uint32_t cout, uint32_t size, uint32_t stride, uint32_t groups,
                     uint32_t activation, Level out) {
    const uint32_t pad = size / 2, weight = integers({cout, cin / groups, size, size});
    const uint32_t scale = vector(cout), bias = dense({cout}, 64.0f * out.scale);
    return node(17, {in}, {cout, size, size, stride, stride, pad, pad, pad, pad, 1, 1, groups, activation,
                           bits(out.scale), out.zero, weight, scale, bias});
  }
  uint32_t int8_linear(uint32_t in, uint32_t cin, uint32_t cout, uint32_t activation, Level out) {
    const uint32_t weight = integers({cout, cin}), scale = vector(cout), bias = dense({cout}, 64.0f * out.scale);
    return node(18, {in}, {cout, activation, bits(out.scale), out.zero, weight, scale, bias});
  }
  // op 5 or 6: 2 x 2, stride 2.
  uint32_t pool(uint8_t op, uint32_t in) {
    std::vector<uint32_t> rest = {2, 2, 2, 2, 0, 0, 0, 0};
    if (op == 6) rest.push_back(0);
    return node(op, {in}, rest);
  }

  // Weights: each returns a reference. Shapes have 2 or 4 dimensions.
  uint32_t vector(uint32_t count) {
    Bytes payload;
    for (uint32_t i = 0; i < count; ++i) put_u16(payload, 0x3000 + random_() % 0x800);
    return weight(1, {count}, payload);
  }
  // Of -size / 2 to size / 2.
  uint32_t dense(const std::vector<uint32_t>& shape, float size = 1.0f) {
    Bytes payload;
    for (size_t i = 0; i < elements(shape); ++i) put_float(payload, size * value());
    return weight(0, shape, payload);
  }
  uint32_t hashed(const std::vector<uint32_t>& shape, uint32_t buckets) {
    Bytes payload;
    put_u32(payload, random_());
    put_u32(payload, buckets);
    for (uint32_t i = 0; i < buckets; ++i) put_float(payload, value());
    return weight(3, shape, payload);
  }
  uint32_t sign(const std::vector<uint32_t>& shape) {
    Bytes payload;
    for (uint32_t i = 0; i < shape[0]; ++i) put_float(payload, 0.1f);
    const size_t count = elements(shape);
    for (size_t i = 0; i < (count + 7) / 8; ++i) payload.push_back(uint8_t(random_()));
    if (count % 8) payload.back() &= uint8_t((1 << count % 8) - 1);
    return weight(4, shape, payload);
  }
  // Integers of -127 to 127, all alike.
  uint32_t integers(const std::vector<uint32_t>& shape) {
    std::vector<float> values(255);
    for (size_t i = 0; i < values.size(); ++i) values[i] = float(i) - 127.0f;
    return weight(2, shape, encode(shape, random_index(shape, 255, 1), values));
  }
  // One weight in `one_in` is kept.
  uint32_t codebook(const std::vector<uint32_t>& shape, uint32_t entries, uint32_t one_in) {
    const std::vector<int32_t> index = random_index(shape, entries, one_in);
    std::vector<float> values(entries);
    for (float& entry : values) entry = value();
    return weight(2, shape, encode(shape, index, values));
  }
  uint32_t sparse(const std::vector<uint32_t>& shape, uint32_t one_in) {
    return sparse(shape, random_index(shape, 1, one_in));
  }
  // The weights whose index is 0 are kept; the others' are -1.
  uint32_t sparse(const std::vector<uint32_t>& shape, const std::vector<int32_t>& index) {
    const Bytes positions = encode(shape, index, {1.0f});
    Bytes payload;
    put_u32(payload, uint32_t(positions.size()));
    put(payload, positions);
    for (int32_t code : index) {
      if (code >= 0) put_float(payload, value());
    }
    return weight(5, shape, payload);
  }

  void sections(Bytes (&out)[4]) const {
    out[0] = {'{', '}'};
    out[1] = head_;
    put_varint(out[1], nodes_);
    put(out[1], nodes_bytes_);
    out[2].clear();
    put_varint(out[2], weights_);
    put(out[2], table_);
    out[3] = blob_;
  }
  Bytes file() const {
    Bytes out[4];
    sections(out);
    return assemble(out);
  }

 private:
  static size_t elements(const std::vector<uint32_t>& shape) {
    size_t count = 1;
    for (uint32_t dimension : shape) count *= dimension;
    return count;
  }
  float value() { return float(int32_t(random_())) / 4294967296.0f; }
  std::vector<int32_t> random_index(const std::vector<uint32_t>& shape, uint32_t entries, uint32_t one_in) {
    std::vector<int32_t> index(elements(shape));
    for (int32_t& code : index) code = random_() % one_in ? -1 : int32_t(random_() % entries);
    return index;
  }
  static Bytes encode(const std::vector<uint32_t>& shape, const std::vector<int32_t>& index,
                      const std::vector<float>& values) {
    Bytes payload;
    camfit::CodebookSizes sizes;
    camfit::codebook_encode(shape[0], uint32_t(index.size() / shape[0]), index.data(), values.data(),
                            uint32_t(values.size()), camfit::CodebookEncodeOptions(), &payload, &sizes);
    return payload;
  }
  uint32_t weight(uint8_t form, const std::vector<uint32_t>& shape, const Bytes& payload) {
    table_.push_back(form);
    table_.push_back(uint8_t(shape.size()));
    for (uint32_t dimension : shape) put_varint(table_, dimension);
    put_varint(table_, uint32_t(payload.size()));
    put(blob_, payload);
    return ++weights_;
  }

  Bytes head_, nodes_bytes_, table_, blob_;
  uint32_t nodes_ = 0, weights_ = 0;
  std::mt19937 random_{1};
};

// Every op and every form. `wide` multiplies the channels, so that steps are large enough to be shared among threads.
inline NetworkBuilder every_op(uint32_t wide, bool softmax = true) {
  const uint32_t c = 4 * wide;
  NetworkBuilder net(8, 8, 2);
  uint32_t at = net.conv(1, 0, c, 3, 1, net.dense({c, 2, 3, 3}));
  const uint32_t left = net.conv(1, at, c, 3, 1, net.codebook({c, c, 3, 3}, 5, 2));
  const uint32_t right = net.conv(1, at, c, 3, c, net.dense({c, 1, 3, 3}));
  at = net.node(8, {left, right}, {1});                                  // add
  at = net.conv(1, at, c, 3, 2, net.sparse({c, c / 2, 3, 3}, 3));
  at = net.node(14, {at}, {2});                                          // channel_shuffle
  at = net.conv(1, at, c, 1, 1, net.hashed({c, c, 1, 1}, 7));
  at = net.conv(1, at, c, 1, 1, net.sign({c, c, 1, 1}));
  at = net.conv(3, at, c, 3, 1, net.sign({c, c, 3, 3}));
  at = net.node(11, {at}, {0, net.vector(c), net.vector(c)});            // affine
  at = net.node(9, {net.pool(5, at), net.pool(6, at)}, {});              // concat
  at = net.node(10, {at}, {2});                                          // activation
  const uint32_t part = net.node(22, {at}, {c / 2, c});                  // slice
  at = net.node(9, {net.node(21, {at}, {2, 1, 3, 0, 1, 0}), part}, {});  // depth_to_space
  const uint32_t mean = net.node(7, {at}, {});                           // global_avg_pool
  at = net.node(12, {at}, {});                                           // flatten
  at = net.linear(2, at, c, net.codebook({c, 2 * c * 16}, 9, 6));
  at = net.linear(2, at, 3 * c, net.sparse({3 * c, c}, 5));
  at = net.linear(2, at, 2 * c, net.hashed({2 * c, 3 * c}, 11));
  at = net.node(8, {at, mean}, {0});                                     // add
  at = net.linear(2, at, c, net.sign({c, 2 * c}));
  at = net.linear(4, at, c, net.sign({c, c}));
  at = net.linear(2, at, 5, net.dense({5, c}));
  if (softmax) net.node(13, {at}, {});
  return net;
}

}  // namespace camfit_test
