// Constants of coder 2 that its reader and its writer share (docs/format.md).
#pragma once
#include <cstdint>

namespace camfit::codec {

enum FastMode : uint8_t { kHuffmanGaps = 1, kHuffmanCodes = 2 };  // bits

constexpr uint32_t kSkip = 255;  // the gap that stands for so many pruned positions, and no code
constexpr uint32_t kGapSymbols = 256;

}  // namespace camfit::codec
