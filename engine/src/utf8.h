// UTF-8: is it, and where may it be cut.
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit {

// Well-formed UTF-8 (RFC 3629: shortest forms, no surrogates, at most U+10FFFF).
bool utf8_valid(const uint8_t* text, size_t length);
// The length of the longest prefix of at most `limit` bytes that does not end inside a character.
size_t utf8_cut(const char* text, size_t length, size_t limit);

}  // namespace camfit
