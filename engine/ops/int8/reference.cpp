// The plain integer kernels: one obvious loop nest each.
#include "elementwise.h"

namespace camfit {
namespace plain {
namespace {

size_t int8_conv2d_scratch(const Window&) { return 0; }

void int8_conv2d(const Window& w, const uint8_t* in, int zero, const Int8Panels& panels, const Requantize& to, void* out,
                 Range rows, Range range, uint8_t*) {
  const Runs runs = runs_of(w);
  const int cin = w.in.channels / w.groups, quads = quads_of(w);
  const auto tap_of = [&](int quad, int byte, int* ky, int* kx, int* c) {  // false for the padding of a run
    const int run = quad / runs.quads(), at = quad % runs.quads() * kQuad + byte;
    *ky = run / runs.of_row;
    *kx = runs.of_row == 1 ? at / cin : run % runs.of_row;
    *c = at % cin;
    return at < runs.bytes;
  };
  for (int p = range.begin; p < range.end; ++p) {
    const PanelPlace place = panel_place(w.out.channels, w.groups, p);
    for (int oy = rows.begin; oy < rows.end; ++oy) {
      for (int ox = 0; ox < w.out.width; ++ox) {
        int32_t sum[kPanel] = {};
        const auto accumulate = [&](int quad, const int8_t* weights) {
          for (int byte = 0; byte < kQuad; ++byte) {
            int ky, kx, c;
            if (!tap_of(quad, byte, &ky, &kx, &c)) continue;
            const int iy = oy * w.stride_h - w.pad_top + ky * w.dilation_h;
            const int ix = ox * w.stride_w - w.pad_left + kx * w.dilation_w;
            const bool inside = iy >= 0 && iy < w.in.height && ix >= 0 && ix < w.in.width;
            const size_t pixel = inside ? size_t(iy) * w.in.width + ix : 0;
            const int q = inside ? in[pixel * w.in.channels + size_t(place.group) * cin + c] : zero;
            for (int lane = 0; lane < kPanel; ++lane) sum[lane] += q * weights[lane * kQuad + byte];
          }
        };
        for (int quad = 0; quad < quads; ++quad)
          accumulate(quad, panels.values + (size_t(p) * quads + quad) * kPanel * kQuad);
        for (uint32_t e = panels.extra_begin ? panels.extra_begin[p] : 0;
             panels.extra_begin && e < panels.extra_begin[p + 1]; ++e)
          accumulate(int(panels.extra_quad[e]), panels.extra + size_t(e) * kPanel * kQuad);
        const size_t at = (size_t(oy) * w.out.width + ox) * w.out.channels + place.first;
        for (int lane = 0; lane < place.count; ++lane) store_one(sum[lane], to, place.first + lane, out, at + lane);
      }
    }
  }
}

void int8_depthwise(const Window& w, const uint8_t* in, int zero, const int16_t* weights, const Requantize& to, void* out,
                    Range rows, uint8_t*) {
  const int channels = w.in.channels, padded = ceil_div(channels, kPanel) * kPanel, pairs = ceil_div(w.kernel_h, 2);
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      for (int c = 0; c < channels; ++c) {
        int32_t sum = 0;
        for (int ky = 0; ky < w.kernel_h; ++ky) {
          for (int kx = 0; kx < w.kernel_w; ++kx) {
            const int iy = oy * w.stride_h - w.pad_top + ky * w.dilation_h;
            const int ix = ox * w.stride_w - w.pad_left + kx * w.dilation_w;
            const bool inside = iy >= 0 && iy < w.in.height && ix >= 0 && ix < w.in.width;
            const int q = inside ? in[(size_t(iy) * w.in.width + ix) * channels + c] : zero;
            sum += q * weights[(size_t(kx * pairs + ky / 2) * padded + c) * 2 + ky % 2];
          }
        }
        store_one(sum, to, c, out, (size_t(oy) * w.out.width + ox) * channels + c);
      }
    }
  }
}

void int8_linear(int cin, int cout, const uint8_t* in, const Int8Panels& panels, const Requantize& to, void* out,
                 Range range) {
  Window w;
  w.in = Shape{1, 1, cin};
  w.out = Shape{1, 1, cout};
  int8_conv2d(w, in, 0, panels, to, out, Range{0, 1}, range, nullptr);
}

}  // namespace

const Int8Kernels int8_kernels =
    CAMFIT_INT8_TABLE(false, int8_conv2d_scratch, int8_conv2d, int8_depthwise, int8_linear,
                      elementwise::channel_shuffle, elementwise);

}  // namespace plain
}  // namespace camfit
