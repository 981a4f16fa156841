#include <stdint.h>
#include <string.h>

/* Packed signs are words of 32 channels in the arena, which is an array of floats: only copied in and out, as C wants. */
static uint32_t load_word(const uint8_t *at) {
  uint32_t word;
  memcpy(&word, at, sizeof word);
  return word;
}
