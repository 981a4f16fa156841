// The weights' side of Winograd's convolution: portable, at load.
#include "winograd.h"

namespace camfit {
namespace {

// Row i of G for kernel size k: the powers of point i over the derivative of the polynomial of all points there.
struct Point {
  double at, factor;
};
constexpr double kRoot = 1.4142135623730950488;
constexpr Point kFour[] = {{0, 1}, {1, 0.5}, {-1, 0.5}};
constexpr Point kSix[] = {{0, 1}, {kRoot / 2, -2.0 / 3}, {-kRoot / 2, -2.0 / 3}, {kRoot, 1.0 / 6}, {-kRoot, 1.0 / 6}};
constexpr int kMostPoints = 6, kMostKernel = 5;

void fill_rows(int points, int kernel, double (&g)[kMostPoints][kMostKernel]) {
  const Point* finite = points == 4 ? kFour : kSix;
  for (int i = 0; i + 1 < points; ++i) {
    double power = finite[i].factor;
    for (int k = 0; k < kernel; ++k, power *= finite[i].at) g[i][k] = power;
  }
  for (int k = 0; k < kernel; ++k) g[points - 1][k] = k + 1 == kernel ? 1 : 0;  // infinity
}

}  // namespace

bool winograd_fits(const Window& w, int tile) {
  const int kernel = w.kernel_h;
  const bool known = (kernel == 3 && (tile == 2 || tile == 4)) || (kernel == 5 && tile == 2);
  return known && w.kernel_w == kernel && w.stride_h == 1 && w.stride_w == 1 && w.dilation_h == 1 &&
         w.dilation_w == 1 && w.groups == 1;
}

size_t winograd_panel_floats(const Window& w, int tile) {
  const size_t points = size_t(tile + w.kernel_h - 1);
  return points * points * size_t(w.in.channels) * kPanel;
}

void winograd_panel(const Window& w, int tile, const float* panel, float* out) {
  const int kernel = w.kernel_h, points = tile + kernel - 1, cin = w.in.channels;
  const size_t channels = size_t(cin) * kPanel;
  double g[kMostPoints][kMostKernel];
  fill_rows(points, kernel, g);
  for (size_t c = 0; c < channels; c += kPanel) {
    double columns[kMostPoints][kMostKernel][kPanel];
    for (int i = 0; i < points; ++i) {
      for (int x = 0; x < kernel; ++x) {
        double(&sum)[kPanel] = columns[i][x];
        for (double& lane : sum) lane = 0;
        for (int y = 0; y < kernel; ++y) {
          const float* from = panel + size_t(y * kernel + x) * channels + c;
          for (int lane = 0; lane < kPanel; ++lane) sum[lane] += g[i][y] * double(from[lane]);
        }
      }
    }
    for (int i = 0; i < points; ++i) {
      for (int j = 0; j < points; ++j) {
        double sum[kPanel] = {};
        for (int x = 0; x < kernel; ++x)
          for (int lane = 0; lane < kPanel; ++lane) sum[lane] += g[j][x] * columns[i][x][lane];
        float* to = out + size_t(i * points + j) * channels + c;
        for (int lane = 0; lane < kPanel; ++lane) to[lane] = float(sum[lane]);
      }
    }
  }
}

}  // namespace camfit
