#include "../plain.h"
#include "../window.h"

namespace camfit {
namespace plain {

size_t conv2d_scratch(const Window&) { return 0; }

void conv2d(const Window& w, const float* in, const float* panel, const Epilogue& epilogue, float* out, Range rows,
            Range panels, float*) {
  const int cin = w.in.channels / w.groups;  // of one group
  const size_t panel_size = size_t(w.kernel_h) * w.kernel_w * cin * kPanel;
  for (int p = panels.begin; p < panels.end; ++p, panel += panel_size) {
    const PanelPlace place = panel_place(w.out.channels, w.groups, p);
    for (int oy = rows.begin; oy < rows.end; ++oy) {
      for (int ox = 0; ox < w.out.width; ++ox) {
        float sum[kPanel] = {};
        for (int ky = 0; ky < w.kernel_h; ++ky) {
          for (int kx = 0; kx < w.kernel_w; ++kx) {
            const int iy = oy * w.stride_h - w.pad_top + ky * w.dilation_h;
            const int ix = ox * w.stride_w - w.pad_left + kx * w.dilation_w;
            if (iy < 0 || iy >= w.in.height || ix < 0 || ix >= w.in.width) continue;
            const float* pixel = in + (size_t(iy) * w.in.width + ix) * w.in.channels + size_t(place.group) * cin;
            const float* weights = panel + (size_t(ky) * w.kernel_w + kx) * cin * kPanel;
            for (int c = 0; c < cin; ++c)
              for (int lane = 0; lane < place.count; ++lane) sum[lane] += pixel[c] * weights[c * kPanel + lane];
          }
        }
        float* to = out + (size_t(oy) * w.out.width + ox) * w.out.channels + place.first;
        for (int lane = 0; lane < place.count; ++lane) to[lane] = finish(sum[lane], epilogue, place.first + lane);
      }
    }
  }
}

}  // namespace plain
}  // namespace camfit
