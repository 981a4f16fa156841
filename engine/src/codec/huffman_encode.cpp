// The writer of coder 0; the reader is huffman.cpp.
#include <algorithm>
#include <queue>
#include <tuple>

#include "bits.h"
#include "encode_parts.h"
#include "huffman.h"

namespace camfit::codec {
namespace {

// Lengths of an optimal prefix code; 0 for a symbol that never occurs. Ties go to the older node, so that equal counts
// give equal codes everywhere.
std::vector<uint32_t> tree_lengths(const std::vector<uint64_t>& count) {
  using Node = std::pair<uint64_t, uint32_t>;  // weight, number
  std::priority_queue<Node, std::vector<Node>, std::greater<Node>> open;
  std::vector<uint32_t> length(count.size(), 0), leaf, parent;
  for (uint32_t s = 0; s < count.size(); ++s) {
    if (!count[s]) continue;
    open.push({count[s], static_cast<uint32_t>(leaf.size())});
    leaf.push_back(s);
  }
  if (leaf.size() == 1) length[leaf[0]] = 1;
  if (leaf.size() < 2) return length;
  parent.resize(2 * leaf.size() - 1);
  for (uint32_t next = static_cast<uint32_t>(leaf.size()); open.size() > 1; ++next) {
    const Node a = open.top();
    open.pop();
    const Node b = open.top();
    open.pop();
    parent[a.second] = parent[b.second] = next;
    open.push({a.first + b.first, next});
  }
  std::vector<uint32_t> depth(parent.size(), 0);
  for (uint32_t node = static_cast<uint32_t>(parent.size()) - 1; node-- > 0;) {
    depth[node] = depth[parent[node]] + 1;
    if (node < leaf.size()) length[leaf[node]] = depth[node];
  }
  return length;
}

struct Code {
  std::vector<uint32_t> length, word;
  void put(BitWriter* bits, uint32_t symbol) const { bits->put(word[symbol], length[symbol]); }
};

Code make_code(std::vector<uint64_t> count) {
  Code code;
  for (;;) {  // flatten the counts until the longest word fits
    code.length = tree_lengths(count);
    if (*std::max_element(code.length.begin(), code.length.end()) <= kMaxCodeLength) break;
    for (uint64_t& c : count) c = (c + 1) / 2;
  }
  code.word.resize(count.size());
  uint32_t word = 0;
  for (uint32_t length = 1; length <= kMaxCodeLength; ++length, word <<= 1) {
    for (size_t s = 0; s < count.size(); ++s) {
      if (code.length[s] == length) code.word[s] = word++;
    }
  }
  return code;
}

void put_table(BitWriter* bits, const std::vector<uint32_t>& length) {
  for (size_t s = 0; s < length.size();) {
    bits->put(length[s], kLengthBits);
    size_t run = 1;
    if (!length[s]) {
      while (run < 1u << kRunBits && s + run < length.size() && !length[s + run]) ++run;
      bits->put(static_cast<uint32_t>(run - 1), kRunBits);
    }
    s += run;
  }
}

struct Entry {
  uint32_t gap, code;
};

// A filler (code = number of entries) for every 2^gap_bits positions that a gap would jump over.
std::vector<Entry> make_entries(const EncodeInput& input, uint32_t gap_bits) {
  std::vector<Entry> entries;
  uint32_t gap = 0;
  for (uint64_t i = 0; i < input.positions(); ++i) {
    if (input.index[i] < 0) {
      ++gap;
      continue;
    }
    for (; gap >> gap_bits; gap -= 1u << gap_bits) entries.push_back({(1u << gap_bits) - 1, input.entries});
    entries.push_back({gap, static_cast<uint32_t>(input.index[i])});
    gap = 0;
  }
  return entries;
}

}  // namespace

void huffman_encode(const EncodeInput& input, const CodebookEncodeOptions& options, std::vector<uint8_t>* out,
                    CodebookSizes* sizes) {
  if (input.nonzeros == 0) return;
  const bool gaps = !input.dense();
  const std::vector<Entry> entries = make_entries(input, options.gap_bits);
  const uint32_t fillers = static_cast<uint32_t>(entries.size() - input.nonzeros);
  const uint32_t code_alphabet = input.entries + (fillers ? 1 : 0);
  if (gaps) {
    out->push_back(static_cast<uint8_t>(options.gap_bits));
    put_varint(out, fillers);
  }
  BitWriter bits(out);
  Code gap_code, code_code;
  if (options.huffman) {
    std::vector<uint64_t> gap_count(size_t{1} << options.gap_bits), code_count(code_alphabet);
    for (const Entry& e : entries) {
      ++gap_count[e.gap];
      ++code_count[e.code];
    }
    gap_code = make_code(gap_count);
    code_code = make_code(code_count);
    if (gaps) put_table(&bits, gap_code.length);
    put_table(&bits, code_code.length);
    bits.align();
  }
  const uint64_t start = bits.tell();
  uint64_t gap_bits = 0;
  for (const Entry& e : entries) {
    const uint64_t before = bits.tell();
    if (gaps) options.huffman ? gap_code.put(&bits, e.gap) : bits.put(e.gap, options.gap_bits);
    gap_bits += bits.tell() - before;
    options.huffman ? code_code.put(&bits, e.code) : bits.put(e.code, bit_width(code_alphabet - 1));
  }
  sizes->indices = (gap_bits + 7) / 8;
  sizes->codes = (bits.tell() - start + 7) / 8 - sizes->indices;
}

}  // namespace camfit::codec
