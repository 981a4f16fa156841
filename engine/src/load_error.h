// How a load says what is wrong: a status and one sentence.
#pragma once
#include "camfit.h"

namespace camfit {

class Allocator;

struct Error {
  camfit_status status = CAMFIT_OK;
  char text[CAMFIT_ERROR_BYTES] = "";

  // All three set status and text and return false, so that a check reads `return error.malformed(...)`.
  __attribute__((format(printf, 2, 3))) bool malformed(const char* format, ...);
  __attribute__((format(printf, 2, 3))) bool unsupported(const char* format, ...);
  // Says how many bytes were wanted for `what`, how many were held and what the limit is.
  bool out_of_memory(const Allocator& allocator, const char* what);
};

// A name of the file, cut for a message. Names were checked to be UTF-8; a cut never splits a character.
struct Quoted {
  char text[49];
  Quoted(const char* name, size_t length);
};

}  // namespace camfit
