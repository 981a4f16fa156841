// What the tests of the codebook codec share: checks, matrices, encoding and decoding.
#pragma once
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "codec.h"
#include "codec/encode.h"

namespace codec_test {

using Bytes = std::vector<uint8_t>;
using camfit::CodebookEncodeOptions;
using camfit::CodebookSizes;

inline int passed = 0, failed = 0;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
inline bool check(bool holds, const char* what, ...) {
  ++(holds ? passed : failed);
  if (holds) return true;
  va_list arguments;
  va_start(arguments, what);
  std::vprintf(what, arguments);
  va_end(arguments);
  std::printf(": failed\n");
  return false;
}

struct Matrix {
  uint32_t rows = 0, columns = 0;
  std::vector<int32_t> index;
  std::vector<float> codebook;
};

struct Decoded {
  const char* problem = nullptr;
  Matrix matrix;
};

// Decodes into arrays of exactly the announced sizes and checks that the sparse rows are well-formed.
inline Decoded decode(const Bytes& payload, uint32_t rows, uint32_t columns) {
  Decoded d;
  camfit::CodebookHead head;
  // Copied to a block of its own size, so that a sanitizer sees any read past the end.
  const std::vector<uint8_t> exact(payload.begin(), payload.end());
  d.problem = camfit::codebook_read_head(exact.data(), exact.size(), rows, columns, &head);
  if (d.problem) return d;
  Matrix& m = d.matrix;
  m.rows = rows;
  m.columns = columns;
  m.codebook.resize(head.entries);
  m.index.assign(size_t(rows) * columns, -1);
  std::vector<uint32_t> row_begin(size_t(rows) + 1), column(head.nonzeros);
  std::vector<uint16_t> code(head.nonzeros);
  std::vector<uint64_t> scratch((head.scratch_bytes + 7) / 8);
  const camfit::CodebookMatrix arrays = {m.codebook.data(), row_begin.data(), column.data(), code.data(),
                                         scratch.data()};
  d.problem = camfit::codebook_decode(exact.data(), exact.size(), rows, columns, arrays);
  if (head.bytes) {  // the other way to decode must agree
    std::vector<float> values(head.entries);
    Bytes bytes(m.index.size());
    const char* problem = camfit::codebook_decode_bytes(exact.data(), exact.size(), rows, columns, values.data(),
                                                        bytes.data());
    bool same = !problem == !d.problem;
    for (size_t i = 0; i < bytes.size() && same && !d.problem; ++i) same = bytes[i] == code[i];
    check(same && (d.problem || std::memcmp(values.data(), m.codebook.data(), 4 * values.size()) == 0),
          "decoded to bytes");
  }
  if (d.problem) return d;
  bool formed = row_begin[0] == 0 && row_begin[rows] == head.nonzeros;
  for (uint32_t row = 0; row < rows && formed; ++row) {
    for (uint32_t i = row_begin[row]; i < row_begin[row + 1] && formed; ++i) {
      formed = row_begin[row + 1] <= head.nonzeros && column[i] < columns && code[i] < head.entries &&
               (i == row_begin[row] || column[i - 1] < column[i]);
      if (formed) m.index[size_t(row) * columns + column[i]] = code[i];
    }
  }
  if (!formed) d.problem = "the sparse rows are malformed";
  return d;
}

inline Bytes encode(const Matrix& m, const CodebookEncodeOptions& options, CodebookSizes* sizes) {
  Bytes payload;
  const char* problem = camfit::codebook_encode(m.rows, m.columns, m.index.data(), m.codebook.data(),
                                                uint32_t(m.codebook.size()), options, &payload, sizes);
  check(!problem, "encoding %u x %u: %s", m.rows, m.columns, problem ? problem : "");
  return payload;
}

inline CodebookEncodeOptions simple(bool huffman, uint32_t gap_bits) {
  CodebookEncodeOptions o;
  o.coder = 0;
  o.huffman = huffman;
  o.gap_bits = gap_bits;
  return o;
}

inline CodebookEncodeOptions range(bool fast = false) {
  CodebookEncodeOptions o;
  o.fast = fast;
  return o;
}

inline CodebookEncodeOptions fast() {
  CodebookEncodeOptions o;
  o.coder = 2;
  return o;
}

inline std::vector<CodebookEncodeOptions> all_options() {
  std::vector<CodebookEncodeOptions> all = {range(), range(true), fast()};
  for (const uint32_t gap_bits : {1u, 3u, 5u, 8u, 16u}) {
    all.push_back(simple(true, gap_bits));
    all.push_back(simple(false, gap_bits));
  }
  return all;
}

inline std::string name(const CodebookEncodeOptions& o) {
  if (o.coder == 2) return "fast";
  if (o.coder == 1) return o.fast ? "range, fast" : "range";
  return (o.huffman ? "huffman, gap bits " : "fixed width, gap bits ") + std::to_string(o.gap_bits);
}

inline bool equal_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

using Random = std::mt19937;

inline uint32_t below(Random& random, uint32_t end) { return uint32_t((uint64_t(random()) * end) >> 32); }
inline double uniform(Random& random) { return random() / 4294967296.0; }

inline std::vector<float> ascending_codebook(uint32_t entries, Random& random) {
  std::vector<float> values(entries);
  for (uint32_t k = 0; k < entries; ++k) {
    values[k] = float((k + 0.5 + 0.8 * (uniform(random) - 0.5) - entries / 2.0) / entries);
  }
  return values;
}

// Every position non-zero with its own column's probability times its row's; codes from a triangular law.
inline Matrix random_matrix(uint32_t rows, uint32_t columns, double density, uint32_t entries, bool uneven,
                            Random& random) {
  Matrix m{rows, columns, {}, ascending_codebook(entries, random)};
  std::vector<double> column_factor(columns, 1.0);
  for (double& f : column_factor) f = uneven ? 3 * std::pow(uniform(random), 2) : 1.0;
  for (uint32_t row = 0; row < rows; ++row) {
    const double row_factor = uneven ? (row % 4 ? 1.3 * uniform(random) : 0.0) : 1.0;
    for (uint32_t column = 0; column < columns; ++column) {
      const bool kept = uniform(random) < density * column_factor[column] * row_factor;
      const uint32_t code = (below(random, entries) + below(random, entries)) / 2;
      m.index.push_back(kept ? int32_t(code) : -1);
    }
  }
  return m;
}

inline int report() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}

}  // namespace codec_test
