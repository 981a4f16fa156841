#include <stdint.h>
#include <string.h>

/* An element of a vector of floats or of IEEE binary16, every value of which a float holds. */
static float vector_at(const float *values, const uint16_t *half, int32_t i, float absent) {
  if (values) return values[i];
  if (half) {
    const uint32_t bits = half[i], magnitude = bits & 0x7FFFu;
    if (magnitude >= 0x0400u) {
      const uint32_t wide = (bits & 0x8000u) << 16 | (magnitude + (112u << 10)) << 13;
      float value;
      memcpy(&value, &wide, sizeof value);
      return value;
    }
    return (float)magnitude * (bits & 0x8000u ? -5.9604644775390625e-8f : 5.9604644775390625e-8f); /* 2^-24 */
  }
  return absent;
}
