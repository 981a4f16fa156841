#if defined(__AVX512F__)
#include "simd.h"  // of this folder
#endif
