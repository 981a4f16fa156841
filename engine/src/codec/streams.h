// A string of byte symbols as coder 2 stores it: in bits of fixed width, or in Huffman words in four streams that are
// decoded side by side (docs/format.md).
#pragma once
#include <cstdint>

#include "payload.h"

namespace camfit::codec {

constexpr uint32_t kStreams = 4;
constexpr uint32_t kLongestWord = 12;       // of a Huffman word, in bits
constexpr uint32_t kMostSymbols = 256;      // of an alphabet
constexpr uint32_t kWordTable = 1u << kLongestWord;

// Where stream `i` of a string of `count` symbols begins; stream kStreams begins where the string ends.
inline uint32_t stream_begin(uint32_t i, uint32_t count) {
  const uint64_t quarter = (static_cast<uint64_t>(count) + kStreams - 1) / kStreams, begin = i * quarter;
  return begin < count ? static_cast<uint32_t>(begin) : count;
}

// Reads `count` symbols, each below `alphabet`, and moves `body` behind them. `table` is work space of kWordTable
// entries. Returns nullptr, or what is wrong.
const char* read_symbols(Reader* body, bool huffman, uint32_t alphabet, uint32_t count, uint16_t* table, uint8_t* out);

}  // namespace camfit::codec
