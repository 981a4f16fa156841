// A check that counts: tests end with `return camfit_test::failures ? 1 : 0`.
#pragma once
#include <cstdio>

namespace camfit_test {

inline int failures = 0;

}  // namespace camfit_test

#define CHECK(condition, ...)                                    \
  do {                                                           \
    if (!(condition)) {                                          \
      ++camfit_test::failures;                                   \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                  \
      std::printf("\n");                                         \
    }                                                            \
  } while (false)
