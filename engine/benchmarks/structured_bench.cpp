// Convolutions with structured zeros beside the set's way for dense weights, by turns: the ratio at each density, and
// the line through them, beside that which the engine's choice is made of.  structured_bench [part of a name]
//   strided   every panel uses the same columns of the lowered matrix
//   groups    each panel of 16 output channels leaves out input channels of its own
//   pairs     kernels of random pairs of channels are left out
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "conv2d_columns/layout.h"
#include "winograd/winograd.h"

namespace {

using namespace camfit;
using Floats = std::vector<float>;

std::mt19937 engine(1);
const char* wanted = "";
constexpr double kDensities[] = {0.1, 0.2, 0.33, 0.5, 0.7, 0.9};

Floats floats(size_t count) {
  Floats result(count);
  for (float& value : result) value = float(engine() % 2001) / 1000.0f - 1.0f;
  return result;
}

bool kept(double density) { return double(engine() % 100000) < density * 100000; }

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Median of the ratios of two calls that take turns.
double ratio_of(const std::function<void()>& a, const std::function<void()>& b) {
  using Clock = std::chrono::steady_clock;
  const auto sample = [](const std::function<void()>& call, int calls) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count() / calls;
  };
  const int calls_a = std::max(1, int(1.0 / std::max(sample(a, 1), 1e-5)));
  const int calls_b = std::max(1, int(1.0 / std::max(sample(b, 1), 1e-5)));
  std::vector<double> ratios;
  for (int i = 0; i < 21; ++i) {
    const double first = sample(a, calls_a);
    ratios.push_back(first / sample(b, calls_b));
  }
  return median(ratios);
}

// The median slope of all pairs of points, and the median of what is left (Theil and Sen): outliers do not count.
CostLine line_through(const std::vector<double>& ratios) {
  std::vector<double> slopes, rest;
  for (size_t i = 0; i < ratios.size(); ++i)
    for (size_t j = 0; j < i; ++j) slopes.push_back((ratios[i] - ratios[j]) / (kDensities[i] - kDensities[j]));
  const double each = median(slopes);
  for (size_t i = 0; i < ratios.size(); ++i) rest.push_back(ratios[i] - each * kDensities[i]);
  return {median(rest), each};
}

struct Dense {
  Window w;
  const Kernels& set;
  int tile, panels;
  Floats weights, room;

  Dense(const Window& window, const Kernels& kernels)
      : w(window), set(kernels), tile(set.winograd_tile(w)), panels((w.out.channels + kPanel - 1) / kPanel) {
    const size_t plain = size_t(w.kernel_h) * w.kernel_w * w.in.channels * kPanel;
    weights = floats((tile ? winograd_panel_floats(w, tile) : plain) * size_t(panels));
    room.resize(tile ? set.winograd_scratch(w, tile) : set.conv2d_scratch(w));
  }
  void run(const float* in, const Epilogue& e, float* out) {
    if (tile)
      set.winograd(w, tile, in, weights.data(), e, out, {0, w.out.height}, {0, panels}, room.data());
    else
      set.conv2d(w, in, weights.data(), e, out, {0, w.out.height}, {0, panels}, room.data());
  }
};

struct Columns {
  std::vector<ColumnList> list;
  std::vector<int32_t> offset;
  Floats value;

  Columns(const Window& w, double density, bool alike) {
    const ColumnsLayout l = columns_layout(w);
    for (int p = 0; p < (w.out.channels + kPanel - 1) / kPanel; ++p) {
      if (p == 0 || !alike) {
        const uint32_t first = uint32_t(offset.size());
        std::vector<bool> channel;
        for (int c = 0; c < w.in.channels; ++c) channel.push_back(kept(density));
        for (int t = 0; t < w.kernel_h * w.kernel_w; ++t)
          for (int c = 0; c < w.in.channels; ++c)
            if (alike ? kept(density) : channel[size_t(c)])
              offset.push_back(int32_t(column_offset(w, l, c, t / w.kernel_w, t % w.kernel_w)));
        list.push_back({first, uint32_t(offset.size()) - first, value.size()});
      } else {
        list.push_back({list[0].first, list[0].count, value.size()});
      }
      const Floats more = floats(size_t(list.back().count) * kPanel);
      value.insert(value.end(), more.begin(), more.end());
    }
  }
};

struct Pairs {
  std::vector<uint32_t> begin, channel;
  Floats value;

  Pairs(const Window& w, int tile, double density) {
    for (int o = 0; o < w.out.channels; ++o) {
      begin.push_back(uint32_t(channel.size()));
      for (int c = 0; c < w.in.channels; ++c)
        if (kept(density)) channel.push_back(uint32_t(c));
    }
    begin.push_back(uint32_t(channel.size()));
    value = floats(winograd_panel_floats(w, tile) / (size_t(w.in.channels) * kPanel) * channel.size());
  }
};

void bench(const char* kind, int size, int cin, int cout, int kernel, int stride, int pad) {
  Window w;
  const int extent = (size + 2 * pad - kernel) / stride + 1;
  w.in = {size, size, cin}, w.out = {extent, extent, cout};
  w.kernel_h = w.kernel_w = kernel, w.stride_h = w.stride_w = stride, w.pad_top = w.pad_left = pad;
  const Floats in = floats(w.in.size()), bias = floats(size_t(cout));
  const Epilogue epilogue = {nullptr, bias.data(), Activation::kRelu};
  Floats out(w.out.size());
  for (const Kernels* set : {avx2_kernels(), avx512_kernels(), neon_kernels()}) {
    char name[96];
    std::snprintf(name, sizeof name, "%s %dx%d/%d %d->%d @%d %s", kind, kernel, kernel, stride, cin, cout, size,
                  set ? set->name : "");
    if (!set || !std::strstr(name, wanted)) continue;
    const bool by_pairs = !std::strcmp(kind, "pairs");
    if (by_pairs && (!set->winograd_pairs || !set->winograd_pairs_tile(w))) continue;
    Dense dense(w, *set);
    std::printf("%-40s %s", name, dense.tile ? "winograd" : "  direct");
    std::vector<double> ratios;
    for (const double density : kDensities) {
      std::function<void()> sparse;
      const Columns columns(w, density, !std::strcmp(kind, "strided"));
      const int tile = by_pairs ? set->winograd_pairs_tile(w) : 0;
      const Pairs pairs = by_pairs ? Pairs(w, tile, density) : Pairs(Window(), 2, 0);
      Floats room(by_pairs ? set->winograd_pairs_scratch(w, tile) : set->conv2d_columns_scratch(w));
      if (by_pairs)
        sparse = [&] {
          const ChannelPairs all = {tile, uint32_t(pairs.channel.size()), pairs.begin.data(), pairs.channel.data(),
                                    pairs.value.data()};
          set->winograd_pairs(w, in.data(), all, epilogue, out.data(), {0, extent}, {0, cout}, room.data());
        };
      else
        sparse = [&] {
          const PanelColumns all = {columns.list.data(), columns.offset.data(), columns.value.data()};
          set->conv2d_columns(w, in.data(), all, epilogue, out.data(), {0, extent}, {0, dense.panels}, room.data());
        };
      ratios.push_back(ratio_of(sparse, [&] { dense.run(in.data(), epilogue, out.data()); }));
      std::printf("  %g %% %.2f", density * 100, ratios.back());
      std::fflush(stdout);
    }
    const CostLine line = line_through(ratios);
    const CostLine rule = by_pairs ? set->winograd_pairs_cost(w) : set->conv2d_columns_cost(w);
    std::printf("   %.2f + %.2f d, even at %.0f %%; the rule: %.2f + %.2f d\n", line.none, line.each,
                (1 - line.none) / line.each * 100, rule.none, rule.each);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1) wanted = arguments[1];
  for (const char* kind : {"strided", "groups", "pairs"}) {
    bench(kind, 28, 1, 20, 5, 1, 0);
    bench(kind, 12, 20, 50, 5, 1, 0);
    bench(kind, 16, 64, 64, 5, 1, 2);
    bench(kind, 32, 16, 16, 3, 1, 1);
    bench(kind, 16, 32, 32, 3, 1, 1);
    bench(kind, 8, 64, 64, 3, 1, 1);
    bench(kind, 32, 128, 128, 3, 1, 1);
    bench(kind, 16, 256, 256, 3, 1, 1);
    bench(kind, 8, 512, 512, 3, 1, 1);
    bench(kind, 56, 64, 64, 3, 1, 1);
    bench(kind, 28, 128, 128, 3, 2, 1);
    bench(kind, 16, 32, 64, 3, 2, 1);
    bench(kind, 32, 3, 128, 3, 1, 1);
  }
  return 0;
}
