#include "crc32.h"

namespace camfit {
namespace {

// Slicing by sixteen (Kounavis & Berry 2008): table[k] advances a byte past k further zero bytes.
constexpr int kSlices = 16;
struct Table {
  uint32_t at[kSlices][256];
  constexpr Table() : at() {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
      at[0][i] = value;
    }
    for (uint32_t i = 0; i < 256; ++i) {
      for (int k = 1; k < kSlices; ++k) at[k][i] = at[0][at[k - 1][i] & 0xFF] ^ (at[k - 1][i] >> 8);
    }
  }
};
constexpr Table kTable;

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
  uint32_t crc = 0xFFFFFFFFu;
  for (; size >= kSlices; data += kSlices, size -= kSlices) {
    crc ^= data[0] | uint32_t(data[1]) << 8 | uint32_t(data[2]) << 16 | uint32_t(data[3]) << 24;
    uint32_t next = 0;
    for (int k = 0; k < 4; ++k) next ^= kTable.at[kSlices - 1 - k][crc >> 8 * k & 0xFF];
    for (int k = 4; k < kSlices; ++k) next ^= kTable.at[kSlices - 1 - k][data[k]];
    crc = next;
  }
  for (; size > 0; ++data, --size) crc = kTable.at[0][(crc ^ *data) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

}  // namespace camfit
