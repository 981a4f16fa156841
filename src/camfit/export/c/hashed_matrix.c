#include <stdint.h>

/* HashedNets (Chen et al., 2015): weight (i, j) is xi(i, j) * bucket[h(i, j)], by XXH32 of the 8 bytes (i, j), with 2
 * hashes xi by one of its own. */
typedef struct {
  const float *bucket;
  uint32_t buckets, seed, hashes;
} hashed_matrix;

static uint32_t xxh32(uint32_t seed, uint32_t row, uint32_t column) {
  uint32_t h = seed + 374761393u + 8u;
  h += row * 3266489917u;
  h = (h << 17 | h >> 15) * 668265263u;
  h += column * 3266489917u;
  h = (h << 17 | h >> 15) * 668265263u;
  h = (h ^ h >> 15) * 2246822519u;
  h = (h ^ h >> 13) * 3266489917u;
  return h ^ h >> 16;
}

static float hashed_weight(const hashed_matrix *m, int32_t row, int32_t column) {
  const uint32_t hash = xxh32(m->seed, (uint32_t)row, (uint32_t)column);
  const float value = m->bucket[(uint64_t)hash * m->buckets >> 32];
  const uint32_t of_sign = m->hashes == 1 ? hash : xxh32(m->seed + 1u, (uint32_t)row, (uint32_t)column);
  return of_sign & 1u ? value : -value;
}
