#include "streams.h"

#include <cstring>

#include "bits.h"

namespace camfit::codec {
namespace {

constexpr const char* kCutShort = "codebook payload: cut short";
constexpr const char* kNotACode = "codebook payload: code is not in the codebook";
constexpr const char* kPadding = "codebook payload: padding is not 0";

uint64_t load_u64(const uint8_t* at) {
  uint64_t value = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  std::memcpy(&value, at, 8);
#else
  for (int i = 0; i < 8; ++i) value |= static_cast<uint64_t>(at[i]) << 8 * i;
#endif
  return value;
}

// The same, with zeros for what lies past the end.
uint64_t load_some(const uint8_t* at, const uint8_t* end) {
  if (end - at >= 8) return load_u64(at);
  uint64_t value = 0;
  for (int i = 0; at < end; ++i, ++at) value |= static_cast<uint64_t>(*at) << 8 * i;
  return value;
}

bool all_below(const uint8_t* symbols, uint32_t count, uint32_t alphabet) {
  uint8_t most = 0;
  for (uint32_t i = 0; i < count; ++i) most = most > symbols[i] ? most : symbols[i];
  return count == 0 || most < alphabet;
}

const char* read_fixed(Reader* body, uint32_t alphabet, uint32_t count, uint8_t* out) {
  const uint32_t width = bit_width(alphabet - 1), mask = (1u << width) - 1;
  const uint64_t bits = static_cast<uint64_t>(count) * width, bytes = (bits + 7) / 8;
  if (body->left() < bytes) return kCutShort;
  const uint8_t* at = body->data;
  body->data += bytes;
  if (bits % 8 && body->data[-1] >> bits % 8) return kPadding;
  if (width == 8) {
    std::memcpy(out, at, count);
  } else {
    for (uint32_t i = 0; i < count; i += 8, at += width) {  // eight symbols fill `width` bytes
      uint64_t word = load_some(at, body->end);
      const uint32_t n = count - i < 8 ? count - i : 8;
      if (n == 8) {
        for (uint32_t k = 0; k < 8; ++k, word >>= width) out[i + k] = static_cast<uint8_t>(word & mask);
      } else {
        for (uint32_t k = 0; k < n; ++k, word >>= width) out[i + k] = static_cast<uint8_t>(word & mask);
      }
    }
  }
  return all_below(out, count, alphabet) ? nullptr : kNotACode;
}

// table[next 12 bits] = symbol | length << 8. Words lie in the stream from their first bit on, lowest bit of the byte
// first, so a word of `length` bits fills the places whose lowest bits are the word reversed.
const char* read_table(Reader* body, uint32_t alphabet, uint16_t* table) {
  const uint32_t bytes = (alphabet + 1) / 2;
  if (body->left() < bytes) return kCutShort;
  const uint8_t* lengths = body->data;
  body->data += bytes;
  if (alphabet % 2 && lengths[bytes - 1] >> 4) return kPadding;
  uint32_t word = 0;  // of kLongestWord bits
  for (uint32_t length = 1; length <= kLongestWord; ++length) {
    const uint32_t step = 1u << (kLongestWord - length);
    for (uint32_t symbol = 0; symbol < alphabet; ++symbol) {
      if ((lengths[symbol / 2] >> symbol % 2 * 4 & 15) != length) continue;
      if (word + step > kWordTable) return "codebook payload: Huffman code is over-full";
      uint32_t reversed = 0;
      for (uint32_t bit = 0; bit < kLongestWord; ++bit) reversed |= (word >> bit & 1) << (kLongestWord - 1 - bit);
      for (uint32_t i = 0; i < step; ++i) table[reversed + (i << length)] = static_cast<uint16_t>(symbol | length << 8);
      word += step;
    }
  }
  for (uint32_t symbol = 0; symbol < alphabet; ++symbol) {
    if ((lengths[symbol / 2] >> symbol % 2 * 4 & 15) > kLongestWord) return "codebook payload: bad Huffman table";
  }
  return word == kWordTable ? nullptr : "codebook payload: Huffman code is incomplete";
}

// `bits` holds the next `count` bits of the stream, the next one lowest; what is above them is also of the stream, or 0.
struct Stream {
  const uint8_t* at;
  const uint8_t* end;
  uint64_t bits = 0;
  uint32_t count = 0;
  uint8_t* out;

  void fill() {  // to 56 bits or more; 8 bytes must be left
    bits |= load_u64(at) << count;
    at += (63 - count) >> 3;
    count |= 56;
  }
  void take(const uint16_t* table) {
    const uint32_t entry = table[bits & (kWordTable - 1)];
    *out++ = static_cast<uint8_t>(entry);
    bits >>= entry >> 8;
    count -= entry >> 8;
  }
};

// The last symbols, byte by byte. False unless the stream ends with them, padded with zeros to a byte.
bool finish(Stream* stream, const uint8_t* out_end, const uint16_t* table) {
  Stream s = *stream;
  s.bits &= s.count < 64 ? (uint64_t{1} << s.count) - 1 : ~uint64_t{0};
  while (s.out < out_end) {
    while (s.count < kLongestWord && s.at < s.end) {
      s.bits |= static_cast<uint64_t>(*s.at++) << s.count;
      s.count += 8;
    }
    if ((table[s.bits & (kWordTable - 1)] >> 8) > s.count) return false;
    s.take(table);
  }
  const uint32_t unread = s.count / 8;  // whole bytes that were looked at too early
  return s.bits == 0 && unread == 0 && s.at == s.end;
}

const char* read_huffman(Reader* body, uint32_t alphabet, uint32_t count, uint16_t* table, uint8_t* out) {
  const char* wrong = read_table(body, alphabet, table);
  if (wrong) return wrong;
  Stream stream[kStreams];
  uint32_t bytes[kStreams];
  for (uint32_t& size : bytes) {
    if (!body->varint(&size)) return "codebook payload: bad length of a stream";
  }
  for (uint32_t i = 0; i < kStreams; ++i) {
    if (bytes[i] > body->left()) return kCutShort;
    stream[i].at = body->data;
    stream[i].end = body->data += bytes[i];
    stream[i].out = out + stream_begin(i, count);
  }
  // Four symbols of each stream at a time, as long as each has them and 8 bytes; the last stream is never the longest.
  constexpr uint32_t kAtOnce = 4;
  static_assert(kAtOnce * kLongestWord <= 56, "a fill serves so many words");
  Stream a = stream[0], b = stream[1], c = stream[2], d = stream[3];
  for (uint32_t left = count - stream_begin(kStreams - 1, count); left >= kAtOnce; left -= kAtOnce) {
    if (a.end - a.at < 8 || b.end - b.at < 8 || c.end - c.at < 8 || d.end - d.at < 8) break;
    a.fill();
    b.fill();
    c.fill();
    d.fill();
    for (uint32_t k = 0; k < kAtOnce; ++k) {
      a.take(table);
      b.take(table);
      c.take(table);
      d.take(table);
    }
  }
  stream[0] = a;
  stream[1] = b;
  stream[2] = c;
  stream[3] = d;
  for (uint32_t i = 0; i < kStreams; ++i) {
    if (!finish(&stream[i], out + stream_begin(i + 1, count), table)) {
      return "codebook payload: a stream is cut short, or has bytes left over";
    }
  }
  return nullptr;
}

}  // namespace

const char* read_symbols(Reader* body, bool huffman, uint32_t alphabet, uint32_t count, uint16_t* table, uint8_t* out) {
  return huffman ? read_huffman(body, alphabet, count, table, out) : read_fixed(body, alphabet, count, out);
}

}  // namespace camfit::codec
