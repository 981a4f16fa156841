// Coder 0: Deep Compression's relative indices (gaps) and codes (Han, Mao, Dally, ICLR 2016), Huffman-coded or as plain
// bit fields.
#include "huffman.h"

#include "bits.h"
#include "payload.h"

namespace camfit::codec {
namespace {

// A canonical Huffman code: symbols sorted by (length, symbol).
struct HuffmanTable {
  uint32_t* symbol;                      // the caller's
  uint32_t limit[kMaxCodeLength + 1];    // first value, at the top of a word, that is longer than this length; minus 1
  uint32_t first[kMaxCodeLength + 1];    // first code word of this length
  uint32_t offset[kMaxCodeLength + 1];   // where this length starts in `symbol`
  uint32_t count[kMaxCodeLength + 1];
  uint32_t longest;
};

// Calls visit(symbol, length) for every used symbol of a stored table.
template <class Visit>
bool each_length(BitReader* bits, uint32_t alphabet, Visit visit) {
  for (uint32_t s = 0; s < alphabet;) {
    const uint32_t length = bits->take(kLengthBits);
    if (bits->overrun() || length > kMaxCodeLength) return false;
    if (length) {
      visit(s++, length);
    } else {
      const uint32_t run = bits->take(kRunBits) + 1;
      if (bits->overrun() || run > alphabet - s) return false;
      s += run;
    }
  }
  return true;
}

const char* read_table(BitReader* bits, uint32_t alphabet, HuffmanTable* table) {
  HuffmanTable& t = *table;
  for (uint32_t length = 0; length <= kMaxCodeLength; ++length) t.count[length] = 0;
  const uint64_t start = bits->tell();
  if (!each_length(bits, alphabet, [&t](uint32_t, uint32_t length) { ++t.count[length]; })) {
    return "codebook payload: bad Huffman table";
  }
  uint32_t next[kMaxCodeLength + 1];
  uint64_t code = 0;  // of the current length, counted on the scale of the longest
  uint32_t used = 0;
  t.longest = 0;
  for (uint32_t length = 1; length <= kMaxCodeLength; ++length) {
    const uint32_t shift = kMaxCodeLength - length;
    t.first[length] = static_cast<uint32_t>(code >> shift);
    t.offset[length] = next[length] = used;
    used += t.count[length];
    code += static_cast<uint64_t>(t.count[length]) << shift;
    if (code > uint64_t{1} << kMaxCodeLength) return "codebook payload: Huffman code is over-full";
    t.limit[length] = static_cast<uint32_t>((code << (32 - kMaxCodeLength)) - 1);
    if (t.count[length]) t.longest = length;
  }
  const bool single = used == 1 && t.count[1] == 1;
  if (code != uint64_t{1} << kMaxCodeLength && !single) return "codebook payload: Huffman code is incomplete";
  bits->seek(start);
  each_length(bits, alphabet, [&t, &next](uint32_t symbol, uint32_t length) { t.symbol[next[length]++] = symbol; });
  return nullptr;
}

bool take_symbol(BitReader* bits, const HuffmanTable& table, uint32_t* symbol) {
  const uint32_t word = bits->peek();
  uint32_t length = 1;
  while (length < table.longest && (word > table.limit[length] || !table.count[length])) ++length;
  const uint32_t rank = (word >> (32 - length)) - table.first[length];
  if (rank >= table.count[length]) return false;  // the second word of a one-symbol code
  bits->skip(length);
  *symbol = table.symbol[table.offset[length] + rank];
  return true;
}

struct HuffmanHead {
  uint32_t gap_bits = 0;
  uint32_t fillers = 0;
  uint32_t code_alphabet = 0;
};

const char* read_huffman_head(const Payload& payload, Reader* body, HuffmanHead* head) {
  if (payload.mode > 1) return "codebook payload: unknown mode of coder 0";
  *body = payload.body;
  head->code_alphabet = payload.entries;
  if (payload.dense || payload.nonzeros == 0) return nullptr;
  uint8_t gap_bits;
  if (!body->byte(&gap_bits) || gap_bits < 1 || gap_bits > kMaxGapBits) return "codebook payload: bad gap width";
  if (!body->varint(&head->fillers)) return "codebook payload: bad number of fillers";
  const uint64_t positions = static_cast<uint64_t>(payload.rows) * payload.columns;
  if (head->fillers > positions - payload.nonzeros) return "codebook payload: more fillers than pruned positions";
  head->gap_bits = gap_bits;
  head->code_alphabet = payload.entries + (head->fillers ? 1 : 0);
  return nullptr;
}

}  // namespace

const char* huffman_scratch(const Payload& payload, size_t* bytes) {
  Reader body{nullptr, nullptr};
  HuffmanHead head;
  const char* wrong = read_huffman_head(payload, &body, &head);
  if (wrong) return wrong;
  const size_t gaps = head.gap_bits ? size_t{1} << head.gap_bits : 0;
  *bytes = payload.mode == kHuffmanCoded ? 4 * (gaps + head.code_alphabet) : 0;
  return nullptr;
}

const char* huffman_decode(const Payload& payload, const CodebookMatrix& out) {
  Reader body{nullptr, nullptr};
  HuffmanHead head;
  const char* wrong = read_huffman_head(payload, &body, &head);
  if (wrong) return wrong;
  const bool coded = payload.mode == kHuffmanCoded, gaps = head.gap_bits > 0;
  const uint32_t gap_alphabet = gaps ? 1u << head.gap_bits : 0;
  BitReader bits(body.data, body.end);
  HuffmanTable gap_table, code_table;
  if (coded && payload.nonzeros) {
    gap_table.symbol = static_cast<uint32_t*>(out.scratch);
    code_table.symbol = gap_table.symbol + gap_alphabet;
    if (gaps && (wrong = read_table(&bits, gap_alphabet, &gap_table))) return wrong;
    if ((wrong = read_table(&bits, head.code_alphabet, &code_table))) return wrong;
    if (!bits.align()) return "codebook payload: Huffman tables are cut short";
  }
  const uint32_t code_bits = bit_width(head.code_alphabet - 1);
  const uint64_t positions = static_cast<uint64_t>(payload.rows) * payload.columns;
  uint64_t position = 0;
  uint32_t nonzeros = payload.nonzeros, fillers = head.fillers;
  RowFiller rows(payload, out);
  while (nonzeros || fillers) {
    uint32_t gap = 0, code = 0;
    if (coded) {
      if ((gaps && !take_symbol(&bits, gap_table, &gap)) || !take_symbol(&bits, code_table, &code)) {
        return "codebook payload: no such Huffman code word";
      }
    } else {
      gap = bits.take(head.gap_bits);
      code = bits.take(code_bits);
      if (code >= head.code_alphabet) return "codebook payload: code is not in the codebook";
    }
    if (bits.overrun()) return "codebook payload: cut short";
    position += gap;
    if (position >= positions) return "codebook payload: position outside the matrix";
    if (code == payload.entries) {
      if (fillers-- == 0) return "codebook payload: more fillers than announced";
    } else {
      if (nonzeros-- == 0) return "codebook payload: more non-zeros than announced";
      rows.put(position, static_cast<uint16_t>(code));
    }
    ++position;
  }
  rows.finish();
  return bits.finished() ? nullptr : "codebook payload: bytes left over";
}

}  // namespace camfit::codec
