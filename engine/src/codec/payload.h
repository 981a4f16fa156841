// What every codebook payload starts with: coder, flags, number of entries and of non-zeros, the codebook
// (docs/format.md).
#pragma once
#include <cstddef>
#include <cstdint>

#include "../codec.h"

namespace camfit::codec {

enum Coder : uint8_t { kHuffman = 0, kRange = 1, kFast = 2 };

constexpr uint8_t kCoderMask = 0x07;
constexpr uint8_t kAscendingFlag = 0x08;  // the codebook is in ascending order and stored by differences
constexpr uint8_t kHalfFlag = 0x10;       // codebook values are binary16
constexpr uint8_t kDenseFlag = 0x20;      // no weight is pruned: no count, no positions
constexpr uint8_t kModeShift = 6;         // two bits that belong to the coder
constexpr uint32_t kMaxEntries = 65536;

// Bytes not read yet. A read past the end leaves `data` where it is and answers false.
struct Reader {
  const uint8_t* data;
  const uint8_t* end;

  bool byte(uint8_t* value) {
    if (data == end) return false;
    *value = *data++;
    return true;
  }
  bool varint(uint32_t* value);  // false also for a value of 2^32 or more and for a longer form than needed
  size_t left() const { return static_cast<size_t>(end - data); }
};

struct Payload {
  uint8_t coder = 0;
  uint8_t mode = 0;
  bool ascending = false;
  bool half = false;
  bool dense = false;
  uint32_t rows = 0, columns = 0;
  uint32_t entries = 0;
  uint32_t nonzeros = 0;
  const uint8_t* codebook = nullptr;  // for read_values
  Reader body{nullptr, nullptr};      // what follows the codebook: the coder's own part
};

// nullptr, or what is wrong.
const char* read_payload(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns, Payload* payload);

// Each coder: the work space it needs, and the decoding of payload.body into row_begin, column and code.
const char* huffman_scratch(const Payload& payload, size_t* bytes);
const char* huffman_decode(const Payload& payload, const CodebookMatrix& out);
const char* range_scratch(const Payload& payload, size_t* bytes);
const char* range_decode(const Payload& payload, const CodebookMatrix& out);
const char* fast_scratch(const Payload& payload, size_t* bytes);
const char* fast_decode(const Payload& payload, const CodebookMatrix& out);
const char* fast_decode_bytes(const Payload& payload, uint8_t* codes);  // of a dense payload

// Writes row_begin of a matrix whose columns come as flat positions in increasing order.
class RowFiller {
 public:
  RowFiller(const Payload& payload, const CodebookMatrix& out)
      : out_(out), rows_(payload.rows), columns_(payload.columns), row_end_(payload.columns) {
    out_.row_begin[0] = 0;
  }
  void put(uint64_t position, uint16_t code) {
    while (position >= row_end_) next_row();
    const uint32_t column = static_cast<uint32_t>(position + columns_ - row_end_);
    if (out_.column16) {
      out_.column16[count_] = static_cast<uint16_t>(column);
    } else {
      out_.column[count_] = column;
    }
    out_.code[count_++] = code;
  }
  void finish() {
    while (row_ < rows_) next_row();
  }

 private:
  void next_row() {
    out_.row_begin[++row_] = count_;
    row_end_ += columns_;
  }
  const CodebookMatrix& out_;
  uint32_t rows_, columns_;
  uint64_t row_end_;
  uint32_t row_ = 0, count_ = 0;
};

}  // namespace camfit::codec
