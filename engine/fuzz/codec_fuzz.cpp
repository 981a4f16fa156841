// Fuzz target (libFuzzer): decodes arbitrary payloads, and encodes and decodes matrices made from the input.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "codec.h"
#include "codec/encode.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

// The input, byte by byte; zeros when it is used up.
struct Source {
  const uint8_t* data;
  size_t size;
  uint8_t byte() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
  uint32_t number() { return byte() | uint32_t(byte()) << 8; }
};

struct Decoded {
  bool accepted = false;
  std::vector<float> codebook;
  std::vector<int32_t> index;
};

Decoded decode(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns) {
  Decoded d;
  camfit::CodebookHead head;
  if (camfit::codebook_read_head(data, size, rows, columns, &head)) return d;
  require(head.entries >= 1 && head.entries <= 65536 && head.nonzeros <= uint64_t(rows) * columns);
  d.codebook.resize(head.entries);
  std::vector<uint32_t> row_begin(size_t(rows) + 1), column(head.nonzeros);
  std::vector<uint16_t> code(head.nonzeros);
  std::vector<uint64_t> scratch((head.scratch_bytes + 7) / 8);
  if (camfit::codebook_decode(data, size, rows, columns,
                              {d.codebook.data(), row_begin.data(), column.data(), code.data(), scratch.data()})) {
    return d;
  }
  d.accepted = true;
  d.index.assign(size_t(rows) * columns, -1);
  require(row_begin[0] == 0 && row_begin[rows] == head.nonzeros);
  for (uint32_t row = 0; row < rows; ++row) {
    require(row_begin[row] <= row_begin[row + 1] && row_begin[row + 1] <= head.nonzeros);
    for (uint32_t i = row_begin[row]; i < row_begin[row + 1]; ++i) {
      require(column[i] < columns && code[i] < head.entries && (i == row_begin[row] || column[i - 1] < column[i]));
      d.index[size_t(row) * columns + column[i]] = code[i];
    }
  }
  if (head.bytes) {  // the other way to decode gives the same
    std::vector<float> values(head.entries);
    std::vector<uint8_t> bytes(d.index.size());
    require(!camfit::codebook_decode_bytes(data, size, rows, columns, values.data(), bytes.data()));
    for (size_t i = 0; i < bytes.size(); ++i) require(bytes[i] == d.index[i]);
  }
  return d;
}

// What was accepted is a matrix like any other: the encoder takes it and it comes back.
// `damage`: bytes to turn bits of in the payload, which then decodes to whatever it likes, or not at all.
void round_trip(uint32_t rows, uint32_t columns, const Decoded& matrix, const camfit::CodebookEncodeOptions& options, Source damage) {
  std::vector<uint8_t> payload;
  camfit::CodebookSizes sizes;
  if (camfit::codebook_encode(rows, columns, matrix.index.data(), matrix.codebook.data(),
                              uint32_t(matrix.codebook.size()), options, &payload, &sizes)) {
    require(options.half_codebook);  // a value that binary16 lacks
    return;
  }
  require(sizes.indices + sizes.codes + sizes.codebook + sizes.header == payload.size());
  const Decoded back = decode(payload.data(), payload.size(), rows, columns);
  require(back.accepted && back.index == matrix.index && back.codebook.size() == matrix.codebook.size());
  require(options.half_codebook ||
          std::memcmp(back.codebook.data(), matrix.codebook.data(), 4 * back.codebook.size()) == 0);
  if (damage.size == 0) return;
  while (damage.size) {
    const size_t at = damage.number() % payload.size();
    payload[at] = uint8_t(payload[at] ^ damage.byte());
  }
  decode(payload.data(), payload.size(), rows, columns);
}

camfit::CodebookEncodeOptions choose(uint8_t bits) {
  camfit::CodebookEncodeOptions options;
  options.coder = (bits & 1) + (bits >> 3 & 1);
  options.huffman = bits & 2;
  options.fast = bits & 2;
  options.half_codebook = bits & 4;
  options.gap_bits = 1 + (bits >> 4);
  return options;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Source source{data, size};
  const uint8_t what = source.byte();
  const camfit::CodebookEncodeOptions options = choose(source.byte());
  if (what & 1) {  // a matrix: sparse bytes, so that zeros of the input are pruned weights
    const uint32_t columns = 1 + source.number() % 500;
    Decoded matrix;
    matrix.codebook.resize(1 + (what & 2 ? source.number() % 1000 : source.byte() % 20));
    for (size_t k = 0; k < matrix.codebook.size(); ++k) {
      const uint32_t bits = what & 4 ? source.number() << 16 : 0;
      if (what & 4) {
        std::memcpy(&matrix.codebook[k], &bits, 4);
      } else {
        matrix.codebook[k] = float(k) - 3;
      }
    }
    const bool full = what & 8;
    Source damage{source.data, what & 32 ? size_t(source.byte() % 13) : 0};
    if (damage.size > source.size) damage.size = source.size;
    while (source.size && matrix.index.size() < 10000) {
      const uint8_t b = source.byte();
      if (full || b < 128) {
        const uint32_t code = (matrix.codebook.size() > 256 ? source.number() : b) % matrix.codebook.size();
        matrix.index.push_back(full || b ? int32_t(code) : -1);
      } else {
        matrix.index.insert(matrix.index.end(), size_t(b - 127) * (what & 16 ? 50 : 1), -1);
      }
    }
    const uint32_t rows = uint32_t(matrix.index.size() / columns) + 1;
    matrix.index.resize(size_t(rows) * columns, full ? 0 : -1);
    round_trip(rows, columns, matrix, options, damage);
  } else {
    const uint32_t rows = 1 + source.byte() % 64, columns = 1 + source.number() % 500;
    const Decoded d = decode(source.data, source.size, rows, columns);
    if (d.accepted) round_trip(rows, columns, d, options, Source{nullptr, 0});
  }
  return 0;
}
