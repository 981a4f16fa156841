#if defined(__AVX2__)
#include "simd.h"  // of this folder
#endif
