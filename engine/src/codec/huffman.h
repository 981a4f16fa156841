// Constants of coder 0 that its reader and its writer share (docs/format.md).
#pragma once
#include <cstdint>

namespace camfit::codec {

enum HuffmanMode : uint8_t { kHuffmanCoded = 0, kFixedWidth = 1 };

constexpr uint32_t kMaxCodeLength = 24;  // of a Huffman code word, in bits
constexpr uint32_t kLengthBits = 5;      // a stored code length; 0 stands for a run of unused symbols
constexpr uint32_t kRunBits = 8;         // the length of that run, minus 1
constexpr uint32_t kMaxGapBits = 16;

}  // namespace camfit::codec
