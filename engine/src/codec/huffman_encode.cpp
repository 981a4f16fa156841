// The writer of coder 0; the reader is huffman.cpp.
#include "bits.h"
#include "encode_parts.h"
#include "encode_prefix.h"
#include "huffman.h"

namespace camfit::codec {
namespace {

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

void put(BitWriter* bits, const PrefixCode& code, uint32_t symbol) {
  bits->put(code.word[symbol], code.length[symbol]);
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
  PrefixCode gap_code, code_code;
  if (options.huffman) {
    std::vector<uint64_t> gap_count(size_t{1} << options.gap_bits), code_count(code_alphabet);
    for (const Entry& e : entries) {
      ++gap_count[e.gap];
      ++code_count[e.code];
    }
    gap_code = make_prefix_code(gap_count, kMaxCodeLength);
    code_code = make_prefix_code(code_count, kMaxCodeLength);
    if (gaps) put_table(&bits, gap_code.length);
    put_table(&bits, code_code.length);
    bits.align();
  }
  const uint64_t start = bits.tell();
  uint64_t gap_bits = 0;
  for (const Entry& e : entries) {
    const uint64_t before = bits.tell();
    if (gaps) options.huffman ? put(&bits, gap_code, e.gap) : bits.put(e.gap, options.gap_bits);
    gap_bits += bits.tell() - before;
    options.huffman ? put(&bits, code_code, e.code) : bits.put(e.code, bit_width(code_alphabet - 1));
  }
  sizes->indices = (gap_bits + 7) / 8;
  sizes->codes = (bits.tell() - start + 7) / 8 - sizes->indices;
}

}  // namespace camfit::codec
