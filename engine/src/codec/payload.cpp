#include "payload.h"

#include "codebook_values.h"

namespace camfit {
namespace codec {

bool Reader::varint(uint32_t* value) {
  uint64_t sum = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    uint8_t b;
    if (!byte(&b)) return false;
    sum |= static_cast<uint64_t>(b & 0x7f) << shift;
    if (b & 0x80) continue;
    if (sum > 0xffffffffu || (b == 0 && shift > 0)) return false;
    *value = static_cast<uint32_t>(sum);
    return true;
  }
  return false;
}

const char* read_payload(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns, Payload* payload) {
  Payload& p = *payload;
  p = Payload();
  p.rows = rows;
  p.columns = columns;
  p.body = Reader{data, data + size};
  const uint64_t positions = static_cast<uint64_t>(rows) * columns;
  if (positions > 0xffffffffu) return "codebook payload: the matrix has 2^32 positions or more";
  uint8_t head;
  if (!p.body.byte(&head)) return "codebook payload: empty";
  p.coder = head & kCoderMask;
  p.ascending = head & kAscendingFlag;
  p.half = head & kHalfFlag;
  p.dense = head & kDenseFlag;
  p.mode = head >> kModeShift;
  if (p.coder > kFast) return "codebook payload: unknown coder";
  if (!p.body.varint(&p.entries)) return "codebook payload: bad codebook size";
  if (p.entries < 1 || p.entries > kMaxEntries) return "codebook payload: codebook size is not 1 to 65536";
  p.nonzeros = static_cast<uint32_t>(positions);
  if (!p.dense) {
    if (!p.body.varint(&p.nonzeros)) return "codebook payload: bad number of non-zeros";
    if (p.nonzeros > positions) return "codebook payload: more non-zeros than positions";
  }
  p.codebook = p.body.data;
  if (!read_values(&p.body.data, p.body.end, p.entries, p.half, p.ascending, nullptr)) {
    return "codebook payload: codebook is malformed or cut short";
  }
  return nullptr;
}

}  // namespace codec

const char* codebook_read_head(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns, CodebookHead* head) {
  codec::Payload payload;
  const char* wrong = codec::read_payload(data, size, rows, columns, &payload);
  if (wrong) return wrong;
  head->entries = payload.entries;
  head->nonzeros = payload.nonzeros;
  head->bytes = payload.coder == codec::kFast && payload.dense;
  switch (payload.coder) {
    case codec::kHuffman: return codec::huffman_scratch(payload, &head->scratch_bytes);
    case codec::kRange: return codec::range_scratch(payload, &head->scratch_bytes);
    default: return codec::fast_scratch(payload, &head->scratch_bytes);
  }
}

const char* codebook_decode(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns,
                            const CodebookMatrix& out) {
  codec::Payload payload;
  const char* wrong = codec::read_payload(data, size, rows, columns, &payload);
  if (wrong) return wrong;
  const uint8_t* codebook = payload.codebook;
  codec::read_values(&codebook, data + size, payload.entries, payload.half, payload.ascending, out.codebook);
  switch (payload.coder) {
    case codec::kHuffman: return codec::huffman_decode(payload, out);
    case codec::kRange: return codec::range_decode(payload, out);
    default: return codec::fast_decode(payload, out);
  }
}

const char* codebook_decode_bytes(const uint8_t* data, size_t size, uint32_t rows, uint32_t columns, float* values,
                                  uint8_t* code) {
  codec::Payload payload;
  const char* wrong = codec::read_payload(data, size, rows, columns, &payload);
  if (wrong) return wrong;
  if (payload.coder != codec::kFast || !payload.dense) return "codebook payload: not bytes";
  const uint8_t* codebook = payload.codebook;
  codec::read_values(&codebook, data + size, payload.entries, payload.half, payload.ascending, values);
  return codec::fast_decode_bytes(payload, code);
}

}  // namespace camfit
