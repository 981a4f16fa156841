// Optimal prefix codes, for the writers of coders 0 and 2.
#pragma once
#include <cstdint>
#include <vector>

namespace camfit::codec {

struct PrefixCode {
  std::vector<uint32_t> length, word;  // of each symbol; length 0: never used
};

// A canonical Huffman code (words ordered by length, then symbol) whose words have at most `longest` bits. A single
// used symbol gets length 1.
PrefixCode make_prefix_code(std::vector<uint64_t> count, uint32_t longest);

}  // namespace camfit::codec
