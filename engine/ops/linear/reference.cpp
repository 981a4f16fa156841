#include "../plain.h"
#include "../window.h"

namespace camfit {
namespace plain {

void linear(int cin, int cout, const float* in, const float* panel, const Epilogue& epilogue, float* out,
            Range panels) {
  for (int p = panels.begin; p < panels.end; ++p, panel += size_t(cin) * kPanel) {
    const PanelPlace place = panel_place(cout, 1, p);
    float sum[kPanel] = {};
    for (int c = 0; c < cin; ++c)
      for (int lane = 0; lane < place.count; ++lane) sum[lane] += in[c] * panel[size_t(c) * kPanel + lane];
    for (int lane = 0; lane < place.count; ++lane)
      out[place.first + lane] = finish(sum[lane], epilogue, place.first + lane);
  }
}

}  // namespace plain
}  // namespace camfit
