// The writer of coder 2; the reader is fast.cpp.
#include "bits.h"
#include "encode_parts.h"
#include "encode_prefix.h"
#include "fast.h"
#include "streams.h"

namespace camfit::codec {
namespace {

// Bits from the lowest of each byte on.
class LowBits {
 public:
  explicit LowBits(std::vector<uint8_t>* out) : out_(out) {}
  void put(uint32_t value, uint32_t count) {
    bits_ |= static_cast<uint64_t>(value) << count_;
    for (count_ += count; count_ >= 8; count_ -= 8, bits_ >>= 8) out_->push_back(static_cast<uint8_t>(bits_));
  }
  void finish() {
    if (count_) out_->push_back(static_cast<uint8_t>(bits_));
  }

 private:
  std::vector<uint8_t>* out_;
  uint64_t bits_ = 0;
  uint32_t count_ = 0;
};

std::vector<uint8_t> fixed_string(const std::vector<uint8_t>& symbols, uint32_t alphabet) {
  const uint32_t width = bit_width(alphabet - 1);
  std::vector<uint8_t> out;
  LowBits bits(&out);
  for (const uint8_t symbol : symbols) bits.put(symbol, width);
  bits.finish();
  return out;
}

uint32_t reversed(uint32_t word, uint32_t length) {
  uint32_t out = 0;
  for (uint32_t i = 0; i < length; ++i) out |= (word >> i & 1) << (length - 1 - i);
  return out;
}

std::vector<uint8_t> huffman_string(const std::vector<uint8_t>& symbols, uint32_t alphabet) {
  const uint32_t count = static_cast<uint32_t>(symbols.size());
  std::vector<uint64_t> counts(alphabet);
  for (const uint8_t symbol : symbols) ++counts[symbol];
  uint32_t used = 0;
  for (const uint64_t c : counts) used += c > 0;
  if (used == 1) counts[counts[0] ? 1 : 0] = 1;  // a code must be complete, so a second symbol gets a word
  PrefixCode code = make_prefix_code(counts, kLongestWord);
  std::vector<uint8_t> out((alphabet + 1) / 2), streams;
  for (uint32_t s = 0; s < alphabet; ++s) {
    out[s / 2] = static_cast<uint8_t>(out[s / 2] | code.length[s] << s % 2 * 4);
    code.word[s] = reversed(code.word[s], code.length[s]);
  }
  for (uint32_t i = 0; i < kStreams; ++i) {
    const size_t before = streams.size();
    LowBits bits(&streams);
    for (uint32_t k = stream_begin(i, count); k < stream_begin(i + 1, count); ++k) {
      bits.put(code.word[symbols[k]], code.length[symbols[k]]);
    }
    bits.finish();
    put_varint(&out, static_cast<uint32_t>(streams.size() - before));
  }
  out.insert(out.end(), streams.begin(), streams.end());
  return out;
}

// Appends the string in the way that is smaller; Huffman words must save 1/64, as bits of fixed width decode faster.
// Returns whether it chose Huffman words.
bool put_string(const std::vector<uint8_t>& symbols, uint32_t alphabet, std::vector<uint8_t>* out) {
  std::vector<uint8_t> best = fixed_string(symbols, alphabet);
  bool huffman = false;
  if (alphabet > 1) {
    std::vector<uint8_t> words = huffman_string(symbols, alphabet);
    huffman = words.size() < best.size() - best.size() / 64;
    if (huffman) best.swap(words);
  }
  out->insert(out->end(), best.begin(), best.end());
  return huffman;
}

}  // namespace

uint8_t fast_encode(const EncodeInput& input, std::vector<uint8_t>* out, CodebookSizes* sizes) {
  if (input.nonzeros == 0) return 0;
  std::vector<uint8_t> gaps, codes;
  uint64_t gap = 0;
  for (uint64_t i = 0; i < input.positions(); ++i) {
    if (input.index[i] < 0) {
      ++gap;
      continue;
    }
    for (; gap >= kSkip; gap -= kSkip) gaps.push_back(kSkip);
    gaps.push_back(static_cast<uint8_t>(gap));
    codes.push_back(static_cast<uint8_t>(input.index[i]));
    gap = 0;
  }
  uint8_t mode = 0;
  if (!input.dense()) {
    put_varint(out, static_cast<uint32_t>(gaps.size() - codes.size()));
    const size_t before = out->size();
    if (put_string(gaps, kGapSymbols, out)) mode |= kHuffmanGaps;
    sizes->indices = out->size() - before;
  }
  const size_t before = out->size();
  if (put_string(codes, input.entries, out)) mode |= kHuffmanCodes;
  sizes->codes = out->size() - before;
  return mode;
}

}  // namespace camfit::codec
