/* Float results are those of the engine's plain kernels, bit for bit: one product, one sum, each rounded on its own. */
#if defined(__FAST_MATH__)
#error "fast-math changes the bits of the outputs, and breaks on infinities: build this file without it"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
