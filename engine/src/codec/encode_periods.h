// Distances along a row at which weights resemble each other: the image width of a first layer, the kernel width of a
// convolution, the channel size behind one.
#pragma once
#include <cstdint>
#include <vector>

#include "encode_parts.h"

namespace camfit::codec {

// At least one and at most four periods that the format allows, the most likely first, judged by the first `rows` rows.
std::vector<uint32_t> likely_periods(const EncodeInput& input, uint32_t rows);

}  // namespace camfit::codec
