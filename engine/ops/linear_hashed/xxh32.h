// XXH32 (the xxHash family's 32-bit hash, specification 0.8) of exactly eight bytes: two little-endian u32 words.
// Inputs under 16 bytes skip its stripes: each word is mixed in, then the avalanche follows.
#pragma once
#include <cstdint>

namespace camfit {
namespace {

constexpr uint32_t kXxhPrime2 = 2246822519u, kXxhPrime3 = 3266489917u, kXxhPrime4 = 668265263u,
                   kXxhPrime5 = 374761393u;

inline uint32_t xxh32_start(uint32_t seed) { return seed + kXxhPrime5 + 8; }

inline uint32_t xxh32_mix(uint32_t state, uint32_t word) {
  state += word * kXxhPrime3;
  return ((state << 17) | (state >> 15)) * kXxhPrime4;
}

inline uint32_t xxh32_finish(uint32_t state) {
  state = (state ^ (state >> 15)) * kXxhPrime2;
  state = (state ^ (state >> 13)) * kXxhPrime3;
  return state ^ (state >> 16);
}

}  // namespace
}  // namespace camfit
