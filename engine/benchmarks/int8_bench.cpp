// Integer kernels beside the float32 ones of the same layer and set, on the shapes of the networks camfit is measured on; one
// thread, warm caches. Times of a line are taken in turns. Weights are uniform in -127..127 for the worst of extras
// (int8.h) or, as after training, normal with the largest at 127.
//   int8_bench [part of a name]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "../ops/int8/int8.h"
#include "../ops/winograd/winograd.h"

using namespace camfit;

namespace {

const char* wanted = "";
using Call = std::function<void()>;

// Median milliseconds of each call, over samples taken in turns.
std::vector<double> milliseconds(const std::vector<Call>& calls) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::vector<double>> times(calls.size());
  for (int sample = 0; sample < 15; ++sample) {
    for (size_t i = 0; i < calls.size(); ++i) {
      int repeats = 0;
      const auto start = Clock::now();
      double passed = 0;
      while (passed < 1.5) {
        calls[i]();
        ++repeats;
        passed = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
      }
      times[i].push_back(passed / repeats);
    }
  }
  std::vector<double> medians;
  for (std::vector<double>& all : times) {
    std::nth_element(all.begin(), all.begin() + 7, all.end());
    medians.push_back(all[7]);
  }
  return medians;
}

Window window(int size, int cin, int cout, int kernel, int stride, int groups) {
  Window w;
  const int pad = kernel / 2, out = (size + 2 * pad - kernel) / stride + 1;
  w.in = {size, size, cin};
  w.out = {out, out, cout};
  w.kernel_h = w.kernel_w = kernel;
  w.stride_h = w.stride_w = stride;
  w.pad_top = w.pad_left = pad;
  w.groups = groups;
  return w;
}

// The aligned storage that an engine's allocator gives.
template <class T>
struct Aligned {
  explicit Aligned(size_t count) : all(count + 64 / sizeof(T) + kInt8Slack) {}
  T* data() { return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(all.data()) + 63) / 64 * 64); }
  std::vector<T> all;
};

void layer(const char* kind, const Window& w, bool uniform) {
  char name[96];
  std::snprintf(name, sizeof name, "%s %dx%d/%d %d->%d @%d%s", kind, w.kernel_h, w.kernel_w, w.stride_h, w.in.channels,
                w.out.channels, w.in.height, uniform ? " uniform" : "");
  if (!std::strstr(name, wanted)) return;
  const bool depthwise = w.groups > 1, linear = std::strcmp(kind, "linear") == 0;
  const int taps = w.kernel_h * w.kernel_w, cin = w.in.channels / w.groups;
  const size_t count = size_t(w.out.channels) * size_t(taps) * size_t(cin);
  std::mt19937 random(1);
  std::vector<int8_t> integers(count);
  std::normal_distribution<double> normal(0, 127.0 / 4.2);
  for (int8_t& v : integers) v = int8_t(uniform ? int(random() % 255) - 127 : std::max(-127, std::min(127, int(normal(random)))));
  Aligned<uint8_t> in(w.in.size()), out(w.out.size());
  for (size_t i = 0; i < w.in.size(); ++i) in.data()[i] = uint8_t(random());
  std::vector<int32_t> bias(size_t(w.out.channels) + kPanel), multiplier(bias.size(), 1 << 30), shift(bias.size(), 41);
  Requantize to = {bias.data(), multiplier.data(), shift.data(), nullptr, 3, 3, 255, Activation::kRelu, nullptr};
  std::vector<RequantizeBlock> blocks(size_t(int8_block_count(w)));
  int8_blocks(w, to, blocks.data());
  to.blocks = blocks.data();
  Aligned<float> real_in(w.in.size()), real_out(w.out.size());
  const Epilogue epilogue;
  std::printf("%-34s", name);
  for (const Kernels* k : {avx2_kernels(), avx512_kernels()}) {
    if (!k) continue;
    std::vector<Call> calls;
    const int panels = int8_panel_count(w), quads = quads_of(w);
    const size_t panel_floats = size_t(taps) * size_t(cin) * kPanel;
    Aligned<float> weights(depthwise ? count : panel_floats * size_t(panels));
    const int tile = depthwise || linear ? 0 : k->winograd_tile(w);
    Aligned<float> wino(tile ? winograd_panel_floats(w, tile) * size_t(panels) : 1);
    Aligned<float> room((tile ? k->winograd_scratch(w, tile) : k->conv2d_scratch(w)) + 1);
    const Range rows = {0, w.out.height}, all = {0, panels};
    if (depthwise) {
      calls.push_back([&] { k->depthwise(w, real_in.data(), weights.data(), epilogue, real_out.data(), rows); });
    } else if (linear) {
      calls.push_back([&] { k->linear(w.in.channels, w.out.channels, real_in.data(), weights.data(), epilogue, real_out.data(), all); });
    } else if (tile) {
      calls.push_back([&] { k->winograd(w, tile, real_in.data(), wino.data(), epilogue, real_out.data(), rows, all, room.data()); });
    } else {
      calls.push_back([&] { k->conv2d(w, real_in.data(), weights.data(), epilogue, real_out.data(), rows, all, room.data()); });
    }
    Aligned<int8_t> values(size_t(panels) * size_t(quads) * kPanel * kQuad);
    Aligned<int16_t> pairs(int8_pairs_size(w));
    Aligned<uint8_t> scratch(k->int8->conv2d_scratch(w) + 64);
    std::vector<uint32_t> begin(size_t(panels) + 1), quad;
    std::vector<int8_t> extra;
    Int8Panels held = {values.data(), 1, nullptr, nullptr, nullptr};
    if (depthwise) {
      int8_pairs(w, integers.data(), pairs.data());
      calls.push_back([&] { k->int8->depthwise(w, in.data(), 3, pairs.data(), to, out.data(), rows, scratch.data()); });
    } else {
      int8_panels(w, integers.data(), values.data());
      if (k->int8->extras) {
        held.together = int8_together(w, values.data());
        const uint32_t extras = int8_extras(w, held.together, values.data(), nullptr, nullptr, nullptr);
        quad.resize(extras);
        extra.resize(size_t(extras) * kPanel * kQuad);
        int8_extras(w, held.together, values.data(), begin.data(), quad.data(), extra.data());
        held = {values.data(), held.together, begin.data(), quad.data(), extra.data()};
        std::printf(" extras %4.1f %%", 100.0 * extras / (double(panels) * quads));
      }
      if (linear) {
        calls.push_back([&] { k->int8->linear(w.in.channels, w.out.channels, in.data(), held, to, out.data(), all); });
      } else {
        calls.push_back([&] { k->int8->conv2d(w, in.data(), 3, held, to, out.data(), rows, all, scratch.data()); });
      }
    }
    const std::vector<double> ms = milliseconds(calls);
    std::printf("   %s %s %8.4f int8 %8.4f ms (%.2f, %4.0f Gop/s)", k->name, tile ? "winograd" : "float", ms[0], ms[1], ms[1] / ms[0],
                2.0 * double(w.out.size()) * taps * cin / ms[1] / 1e6);
  }
  std::printf("\n");
  std::fflush(stdout);
}

void conv(int size, int cin, int cout, int kernel, int stride) {
  layer("conv", window(size, cin, cout, kernel, stride, 1), false);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) wanted = argv[1];
  conv(28, 1, 20, 5, 1);
  conv(12, 20, 50, 5, 1);
  conv(32, 3, 16, 3, 1);
  conv(32, 16, 16, 3, 1);
  conv(16, 32, 32, 3, 1);
  conv(8, 64, 64, 3, 1);
  conv(96, 3, 8, 3, 2);
  conv(48, 8, 16, 1, 1);
  conv(6, 128, 128, 1, 1);
  conv(224, 3, 32, 3, 2);
  conv(112, 32, 64, 1, 1);
  conv(56, 128, 128, 1, 1);
  conv(14, 512, 512, 1, 1);
  conv(7, 1024, 1024, 1, 1);
  conv(56, 64, 64, 3, 1);
  conv(28, 128, 128, 3, 1);
  conv(14, 256, 256, 3, 1);
  layer("conv", window(14, 256, 256, 3, 1, 1), true);
  conv(7, 512, 512, 3, 1);
  conv(32, 128, 128, 3, 1);
  for (const int c : {8, 64, 128}) layer("depthwise", window(c == 8 ? 48 : 56, c, c, 3, 1, c), false);
  layer("depthwise", window(14, 512, 512, 3, 1, 512), false);
  layer("depthwise", window(56, 128, 128, 3, 2, 128), false);
  for (const int c : {11, 13, 16}) conv(28, c, c, 3, 1);  // what pruning leaves of channels, beside the next multiple of 16
  for (const int c : {22, 27, 32}) conv(14, c, c, 3, 1);
  for (const int c : {45, 54, 64}) conv(7, c, c, 3, 1);
  for (const int c : {53, 106, 64, 128}) layer("conv", window(14, c, c, 1, 1, 1), false);
  for (const int c : {13, 16, 53, 64, 106, 128}) layer("depthwise", window(14, c, c, 3, 1, c), false);
  for (const int c : {53, 64}) layer("depthwise", window(28, c, c, 3, 2, c), false);
  for (const int n : {300, 800, 4096}) {
    Window w;
    w.in = {1, 1, n == 300 ? 784 : n};
    w.out = {1, 1, n == 800 ? 500 : n};
    layer("linear", w, false);
  }
}
