// Streams the panels once. Four at a time give eight independent accumulators; fewer are split over the inputs.
#if defined(__AVX2__)
#include "../avx2_vector.h"

namespace camfit {
namespace avx2 {
namespace {

// N panels side by side, each with U partial sums over the inputs.
template <int N, int U>
void panels_at(int cin, int cout, int index, const float* in, const float* panel, const Epilogue& epilogue,
               float* out) {
  const size_t panel_size = size_t(cin) * kPanel;
  __m256 sum[N][U][2];
  CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n)
    CAMFIT_UNROLL(4) for (int u = 0; u < U; ++u) sum[n][u][0] = sum[n][u][1] = _mm256_setzero_ps();
  int c = 0;
  for (; c + U <= cin; c += U) {
    CAMFIT_UNROLL(4) for (int u = 0; u < U; ++u) {
      const __m256 value = _mm256_broadcast_ss(in + c + u);
      CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
        const float* weights = panel + n * panel_size + size_t(c + u) * kPanel;
        sum[n][u][0] = _mm256_fmadd_ps(value, _mm256_loadu_ps(weights), sum[n][u][0]);
        sum[n][u][1] = _mm256_fmadd_ps(value, _mm256_loadu_ps(weights + kLanes), sum[n][u][1]);
      }
    }
  }
  for (; c < cin; ++c) {
    const __m256 value = _mm256_broadcast_ss(in + c);
    CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
      const float* weights = panel + n * panel_size + size_t(c) * kPanel;
      sum[n][0][0] = _mm256_fmadd_ps(value, _mm256_loadu_ps(weights), sum[n][0][0]);
      sum[n][0][1] = _mm256_fmadd_ps(value, _mm256_loadu_ps(weights + kLanes), sum[n][0][1]);
    }
  }
  CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
    const PanelPlace place = panel_place(cout, 1, index + n);
    const PanelFinish finish(epilogue, place);
    for (int v = 0; v < 2; ++v) {
      CAMFIT_UNROLL(4) for (int u = 1; u < U; ++u) sum[n][0][v] = _mm256_add_ps(sum[n][0][v], sum[n][u][v]);
      finish.store(out + place.first, v, sum[n][0][v]);
    }
  }
}

}  // namespace

void linear(int cin, int cout, const float* in, const float* panel, const Epilogue& epilogue, float* out,
            Range panels) {
  const size_t panel_size = size_t(cin) * kPanel;
  int p = panels.begin;
  for (; p + 4 <= panels.end; p += 4, panel += 4 * panel_size)
    panels_at<4, 1>(cin, cout, p, in, panel, epilogue, out);
  for (; p + 2 <= panels.end; p += 2, panel += 2 * panel_size)
    panels_at<2, 2>(cin, cout, p, in, panel, epilogue, out);
  for (; p < panels.end; ++p, panel += panel_size) panels_at<1, 4>(cin, cout, p, in, panel, epilogue, out);
}

}  // namespace avx2
}  // namespace camfit
#endif
