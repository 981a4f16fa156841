// Every set runs this one: it moves runs of channels, which memcpy does as fast as a set can.
#include <cstring>

#include "../plain.h"

namespace camfit {
namespace plain {

void depth_to_space(const Window& w, size_t element, const uint8_t* in, uint8_t* out, Range rows) {
  const size_t from = size_t(w.in.channels) * element, to = size_t(w.out.channels) * element;
  for (int y = rows.begin; y < rows.end; ++y) {
    const int row = y + w.pad_top;
    const uint8_t* pixels = in + size_t(row / w.stride_h) * size_t(w.in.width) * from;
    const size_t first = size_t(row % w.stride_h) * size_t(w.stride_w);
    uint8_t* line = out + size_t(y) * size_t(w.out.width) * to;
    for (int x = 0; x < w.out.width; ++x) {
      const int column = x + w.pad_left;
      const size_t part = first + size_t(column % w.stride_w);
      std::memcpy(line + size_t(x) * to, pixels + size_t(column / w.stride_w) * from + part * to, to);
    }
  }
}

}  // namespace plain
}  // namespace camfit
