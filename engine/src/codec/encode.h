// Writes the payload of a codebook weight (docs/format.md). Only packers need this; the engine has the reader alone.
#pragma once
#include <cstdint>
#include <vector>

namespace camfit {

struct CodebookEncodeOptions {
  int coder = 1;               // 0: gaps and codes as Deep Compression stores them; 1: context-modelled range coder,
                               // or coder 0 where that is smaller (a handful of weights); 2: two strings of bytes,
                               // which decode fastest, or the same as 1 where the codebook has over 256 values
  uint32_t gap_bits = 5;       // coder 0: width of a relative index, 1..16 (the paper: 8 for conv, 5 for fc)
  bool huffman = true;         // coder 0: Huffman codes, else plain bit fields
  bool fast = false;           // coder 1: the modes that decode fastest, a few per cent larger
  bool half_codebook = false;  // store the codebook as binary16, rounded to nearest even
};

// Where the bytes of a payload went; they add up to its length.
struct CodebookSizes {
  uint64_t indices = 0;   // positions of the non-zeros
  uint64_t codes = 0;
  uint64_t codebook = 0;
  uint64_t header = 0;    // everything else, tables included
};

// index: rows x columns, row-major; -1 for a pruned weight, else its code, 0 .. entries - 1. Equal arguments give equal
// bytes. Returns nullptr, or a static message about the argument that cannot be stored; *out is replaced.
const char* codebook_encode(uint32_t rows, uint32_t columns, const int32_t* index, const float* codebook,
                            uint32_t entries, const CodebookEncodeOptions& options, std::vector<uint8_t>* out,
                            CodebookSizes* sizes);

}  // namespace camfit
