// CRC-32 (IEEE 802.3, reflected 0xEDB88320), as zlib computes it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit {

uint32_t crc32(const uint8_t* data, size_t size);

}  // namespace camfit
