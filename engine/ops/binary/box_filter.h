// K of XNOR-Net, eight pixels of a row at once where all their taps are valid. For vectors of 8.
#pragma once
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {

void box_filter(const Window& w, const float* mean_abs, float* box_mean, Range rows) {
  const Vec8 count = Vec8::all(float(w.kernel_h * w.kernel_w));
  const Range inside = interior(w.out.width, w.kernel_w, w.stride_w, w.pad_left, w.dilation_w, w.in.width);
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    const int iy = oy * w.stride_h - w.pad_top;
    const Range ky = valid_taps(iy, w.kernel_h, w.dilation_h, w.in.height);
    float* to = box_mean + size_t(oy) * w.out.width;
    for (int ox = 0; ox < w.out.width;) {
      const int ix = ox * w.stride_w - w.pad_left;
      const Range kx = valid_taps(ix, w.kernel_w, w.dilation_w, w.in.width);
      const bool wide = w.stride_w == 1 && ox >= inside.begin && ox + Vec8::kLanes <= inside.end;
      Vec8 sum = Vec8::zero();
      for (int y = ky.begin; y < ky.end; ++y) {
        const float* row = mean_abs + size_t(iy + y * w.dilation_h) * w.in.width;
        for (int x = kx.begin; x < kx.end; ++x) {
          const float* from = row + ix + x * w.dilation_w;
          sum = sum + (wide ? Vec8::load(from) : Vec8::broadcast(from));
        }
      }
      const Vec8 mean = sum / count;
      if (wide)
        mean.store(to + ox);
      else
        to[ox] = first_lane(mean);
      ox += wide ? Vec8::kLanes : 1;
    }
  }
}

}  // namespace CAMFIT_SET
}  // namespace camfit
