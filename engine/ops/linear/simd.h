// Streams the panels, two at a time with AVX2 and four with AVX-512. Every output is the sum of kPartial interleaved
// sums, however many panels go together, so that how panels are shared among threads does not change a bit.
#pragma once
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

constexpr int kVectors = kPanel / Vec::kLanes;            // of a panel
constexpr int kPartial = Vec::kLanes == 16 ? 4 : 2;
constexpr int kPanelsAtOnce = Vec::kLanes == 16 ? 4 : 2;  // then all sums fit the registers

// N panels side by side.
template <int N>
void panels_at(int cin, int cout, int index, const float* in, const float* panel, const Epilogue& epilogue,
               float* out) {
  const size_t panel_size = size_t(cin) * kPanel;
  Vec sum[N][kPartial][kVectors];
  CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n)
    CAMFIT_UNROLL(4) for (int u = 0; u < kPartial; ++u)
      CAMFIT_UNROLL(2) for (int v = 0; v < kVectors; ++v) sum[n][u][v] = Vec::zero();
  const auto add = [&](int c, int u) __attribute__((always_inline)) {
    const Vec value = Vec::broadcast(in + c);
    CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n)
      CAMFIT_UNROLL(2) for (int v = 0; v < kVectors; ++v) {
        const float* weights = panel + n * panel_size + size_t(c) * kPanel + v * Vec::kLanes;
        sum[n][u][v] = fma(value, Vec::load(weights), sum[n][u][v]);
      }
  };
  int c = 0;
  for (; c + kPartial <= cin; c += kPartial)
    CAMFIT_UNROLL(4) for (int u = 0; u < kPartial; ++u) add(c + u, u);
  for (; c < cin; ++c) add(c, 0);
  CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
    const PanelPlace place = panel_place(cout, 1, index + n);
    const ChannelFinish<Vec, kVectors> finish(epilogue, place.first, place.count);
    CAMFIT_UNROLL(2) for (int v = 0; v < kVectors; ++v) {
      CAMFIT_UNROLL(4) for (int u = 1; u < kPartial; ++u) sum[n][0][v] = sum[n][0][v] + sum[n][u][v];
      finish.store(out + place.first, v, sum[n][0][v]);
    }
  }
}

}  // namespace

void linear(int cin, int cout, const float* in, const float* panel, const Epilogue& epilogue, float* out,
            Range panels) {
  const size_t panel_size = size_t(cin) * kPanel;
  int p = panels.begin;
  for (; p + kPanelsAtOnce <= panels.end; p += kPanelsAtOnce, panel += kPanelsAtOnce * panel_size)
    panels_at<kPanelsAtOnce>(cin, cout, p, in, panel, epilogue, out);
  for (; p < panels.end; ++p, panel += panel_size) panels_at<1>(cin, cout, p, in, panel, epilogue, out);
}

}  // namespace CAMFIT_SET
}  // namespace camfit
