// Winograd's convolution (Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016): a tile of m x m
// outputs of a k x k kernel needs a x a products for each pair of channels, a = m + k - 1, instead of m² k².
//
//   kernel 3x3, m = 2, a = 4: points 0, 1, -1, infinity
//   kernel 3x3, m = 4, a = 6: points 0, ±√½, ±√2, infinity
//   kernel 5x5, m = 2, a = 6: the same
//
// With 0, ±1, ±2 and infinity, which the paper takes for a = 6, the largest error is four to five times as large; with
// these it is about that of the direct sum (docs/engine.md). An infinite or NaN input spreads over its whole tile.
#pragma once
#include "kernels.h"

namespace camfit {

// Whether the kernels take this window in tiles of `tile` x `tile` outputs.
bool winograd_fits(const Window&, int tile);

// Floats of one transformed panel: [a * a][cin][kPanel].
size_t winograd_panel_floats(const Window&, int tile);

// Transforms a panel [kernel_h * kernel_w][cin][kPanel] of a window that fits. Computed in double, rounded once.
void winograd_panel(const Window&, int tile, const float* panel, float* out);

}  // namespace camfit
