#include "load_error.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "allocator.h"
#include "utf8.h"

namespace camfit {
namespace {

void format_into(char (&text)[CAMFIT_ERROR_BYTES], const char* format, va_list arguments) {
  if (std::vsnprintf(text, sizeof text, format, arguments) >= int(sizeof text)) {
    text[utf8_cut(text, sizeof text - 1, sizeof text - 1)] = 0;
  }
}

}  // namespace

bool Error::malformed(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  format_into(text, format, arguments);
  va_end(arguments);
  status = CAMFIT_MALFORMED;
  return false;
}

bool Error::unsupported(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  format_into(text, format, arguments);
  va_end(arguments);
  status = CAMFIT_UNSUPPORTED;
  return false;
}

bool Error::out_of_memory(const Allocator& allocator, const char* what) {
  std::snprintf(text, sizeof text, "%s: %llu bytes wanted, %llu held already, at most %llu allowed or fewer available",
                what, static_cast<unsigned long long>(allocator.refused()),
                static_cast<unsigned long long>(allocator.current()),
                static_cast<unsigned long long>(allocator.limit()));
  text[utf8_cut(text, std::strlen(text), sizeof text - 1)] = 0;
  status = CAMFIT_OUT_OF_MEMORY;
  return false;
}

Quoted::Quoted(const char* name, size_t length) {
  const size_t cut = utf8_cut(name, length, sizeof text - 1);
  std::memcpy(text, name, cut);
  text[cut] = 0;
}

}  // namespace camfit
