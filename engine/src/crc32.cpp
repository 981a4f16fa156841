#include "crc32.h"

namespace camfit {
namespace {

// Slicing by four: table[k] advances a byte past k further zero bytes.
struct Table {
  uint32_t at[4][256];
  constexpr Table() : at() {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
      at[0][i] = value;
    }
    for (uint32_t i = 0; i < 256; ++i) {
      for (int k = 1; k < 4; ++k) at[k][i] = at[0][at[k - 1][i] & 0xFF] ^ (at[k - 1][i] >> 8);
    }
  }
};
constexpr Table kTable;

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
  uint32_t crc = 0xFFFFFFFFu;
  for (; size >= 4; data += 4, size -= 4) {
    crc ^= data[0] | uint32_t(data[1]) << 8 | uint32_t(data[2]) << 16 | uint32_t(data[3]) << 24;
    crc = kTable.at[3][crc & 0xFF] ^ kTable.at[2][crc >> 8 & 0xFF] ^ kTable.at[1][crc >> 16 & 0xFF] ^
          kTable.at[0][crc >> 24];
  }
  for (; size > 0; ++data, --size) crc = kTable.at[0][(crc ^ *data) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

}  // namespace camfit
