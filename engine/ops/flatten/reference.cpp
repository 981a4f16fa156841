#include "../plain.h"

namespace camfit {
namespace plain {

void flatten(const Shape& shape, const float* in, float* out) {
  const size_t pixels = size_t(shape.height) * shape.width;
  for (int c = 0; c < shape.channels; ++c)
    for (size_t p = 0; p < pixels; ++p) *out++ = in[p * shape.channels + c];
}

}  // namespace plain
}  // namespace camfit
