#if defined(__aarch64__)
#include "simd.h"  // of this folder
#endif
