#include "utf8.h"

namespace camfit {

bool utf8_valid(const uint8_t* text, size_t length) {
  size_t at = 0;
  while (at < length) {
    const uint8_t lead = text[at++];
    if (lead < 0x80) continue;
    const int more = lead >= 0xC2 && lead <= 0xDF   ? 1
                     : lead >= 0xE0 && lead <= 0xEF ? 2
                     : lead >= 0xF0 && lead <= 0xF4 ? 3
                                                    : 0;
    if (more == 0 || length - at < size_t(more)) return false;
    // The second byte excludes longer-than-needed forms, surrogates and what lies past U+10FFFF.
    const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (text[at] < low || text[at] > high) return false;
    for (int i = 1; i < more; ++i) {
      if ((text[at + i] & 0xC0) != 0x80) return false;
    }
    at += size_t(more);
  }
  return true;
}

size_t utf8_cut(const char* text, size_t length, size_t limit) {
  if (length < limit) return length;
  // The last character of the prefix: step back over continuation bytes to its lead, keep it only when complete.
  size_t lead = limit;
  while (lead > 0 && limit - lead < 4) {
    const uint8_t byte = uint8_t(text[--lead]);
    if ((byte & 0xC0) == 0x80) continue;
    const size_t size = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    return lead + size <= limit ? limit : lead;
  }
  return lead;
}

}  // namespace camfit
