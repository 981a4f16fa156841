#include "mixing.h"

namespace camfit::codec {

void MixTables::build() {
  // 2^16 / (1 + exp(-i / 2)), i = -16 .. 16, with straight lines between them.
  static constexpr uint16_t kKnots[33] = {22,    36,    60,    98,    162,   267,   439,   720,   1179,  1921, 3108,
                                          4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
                                          62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514};
  for (int32_t i = 0; i < 2 * (kLogOddsMax + 1); ++i) {
    const uint32_t low = kKnots[i >> 7], high = kKnots[(i >> 7) + 1], part = static_cast<uint32_t>(i & 127);
    squash[i] = static_cast<uint16_t>(low + (((high - low) * part) >> 7));
  }
  int32_t x = 1;
  for (uint32_t p = 0; p < 4096; ++p) {  // the smallest log-odds whose probability reaches the middle of the cell
    while (x < 2 * kLogOddsMax + 1 && squash[x] < (p << 4) + 8) ++x;
    stretch[p] = static_cast<int16_t>(x - (kLogOddsMax + 1));
  }
  for (uint32_t n = 0; n <= kCounterLimit; ++n) rate[n] = static_cast<uint16_t>((1u << 17) / (2 * n + 3));
}

}  // namespace camfit::codec
