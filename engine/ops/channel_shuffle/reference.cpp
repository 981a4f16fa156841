#include "../plain.h"

namespace camfit {
namespace plain {

void channel_shuffle(const float* in, int pixels, int channels, int groups, float* out) {
  const int per_group = channels / groups;
  for (int p = 0; p < pixels; ++p, in += channels)
    for (int j = 0; j < per_group; ++j)
      for (int i = 0; i < groups; ++i) *out++ = in[i * per_group + j];
}

}  // namespace plain
}  // namespace camfit
