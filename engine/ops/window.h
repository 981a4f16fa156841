// Where a window's taps fall on its input. Everything here has internal linkage: files compiled for different
// instruction sets include it, and their copies must not be merged by the linker.
#pragma once
#include "kernels.h"

namespace camfit {
namespace {

inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The taps of [0, kernel) whose position origin + tap * dilation lies in [0, extent).
inline Range valid_taps(int origin, int kernel, int dilation, int extent) {
  if (origin >= 0 && origin + (kernel - 1) * dilation < extent) return {0, kernel};  // most; saves the divisions
  int begin = origin < 0 ? ceil_div(-origin, dilation) : 0;
  int end = origin < extent ? ceil_div(extent - origin, dilation) : 0;
  if (end > kernel) end = kernel;
  if (begin > end) begin = end;
  return {begin, end};
}

// The output positions of [0, out) whose taps are all valid.
inline Range interior(int out, int kernel, int stride, int pad, int dilation, int extent) {
  const int room = extent - 1 - (kernel - 1) * dilation + pad;  // largest origin that fits, plus pad
  int begin = pad > 0 ? ceil_div(pad, stride) : 0;
  int end = room < 0 ? 0 : room / stride + 1;
  if (end > out) end = out;
  if (begin > end) begin = end;
  return {begin, end};
}

// Panel `index` of all groups: its group, first output channel and number of real channels.
struct PanelPlace {
  int group, first, count;
};
inline PanelPlace panel_place(int cout, int groups, int index) {
  const int per_group = cout / groups, panels = ceil_div(per_group, kPanel);
  const int group = index / panels, inside = (index % panels) * kPanel;
  const int left = per_group - inside;
  return {group, group * per_group + inside, left < kPanel ? left : kPanel};
}

}  // namespace
}  // namespace camfit
