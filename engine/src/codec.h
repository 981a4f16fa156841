// The entropy coders of codebook weights: a sparse matrix of codebook indices <-> the payload of form 2 (docs/format.md).
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit {

// What the head of a payload says, so that the caller can allocate before decoding.
struct CodebookHead {
  uint32_t entries = 0;   // codebook size K, 1..65536
  uint32_t nonzeros = 0;  // stored weights; all others are exactly 0
  bool bytes = false;     // nothing is pruned and codes are bytes: codebook_decode_bytes can decode it
  size_t scratch_bytes = 0;  // work space that codebook_decode needs, free again when it returns
};

// A codebook matrix in compressed sparse rows. Arrays belong to the caller.
struct CodebookMatrix {
  float* codebook;      // [entries]
  uint32_t* row_begin;  // [rows + 1]
  uint32_t* column;     // [nonzeros], increasing within a row
  uint16_t* code;       // [nonzeros], each < entries
  void* scratch;        // [scratch_bytes], aligned to 8; may be null when that is 0
  uint16_t* column16 = nullptr;  // takes the place of `column` where not null; of at most 65536 columns
};

// Both return nullptr, or a static message that says what is wrong. They never read outside [data, data + size), never
// write outside the arrays, and refuse (never crash on) any malformed payload. A payload claiming more non-zeros than
// rows * columns, or with bytes left over, is malformed.
const char* codebook_read_head(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns, CodebookHead* head);
const char* codebook_decode(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns, const CodebookMatrix& out);

// Of a payload whose head says `bytes`: values [entries] and all codes [rows * columns], row-major, without work space.
const char* codebook_decode_bytes(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns, float* values,
                                  uint8_t* code);

}  // namespace camfit
