// The ways of convolutions with structured zeros against the dense one, on random shapes: columns of the lowered matrix
// that whole panels leave out, and kernels that are zero.
#include "conv2d_columns/layout.h"
#include "kernels_support.h"
#include "winograd/winograd.h"

using namespace camfit_test;

namespace {

// Both tables, the one under test and the oracle.
struct Pair {
  const Kernels &tested, &oracle;
};

constexpr double kWinogradTolerance = 1e-5;  // as in kernels_test
double winograd_error = 0;

// The columns that each panel uses beside panels of the same. `alike`: all panels use the same; of some nothing is left.
struct ColumnsConv {
  Floats panels;
  std::vector<ColumnList> list;
  Buffer<int32_t> offset;
  Floats value;

  ColumnsConv(const Window& w, bool alike, int one_in, Random& random)
      : panels(0, random), offset(0, random), value(0, random) {
    const ColumnsLayout l = columns_layout(w);
    const int cin = w.in.channels / w.groups, taps = w.kernel_h * w.kernel_w;
    const int count = w.groups * ((w.out.channels / w.groups + kPanel - 1) / kPanel);
    panels = Floats(size_t(count) * taps * cin * kPanel, random);
    std::vector<bool> kept(size_t(taps) * cin);
    std::vector<int32_t> offsets;
    std::vector<float> values;
    float* to = panels.data();
    for (int p = 0; p < count; ++p) {
      const PanelPlace place = panel_place(w.out.channels, w.groups, p);
      const bool again = alike && p > 0 && place.first > place.group * (w.out.channels / w.groups);
      const uint32_t first = uint32_t(offsets.size());
      if (!again)
        for (size_t k = 0; k < kept.size(); ++k) kept[k] = random.integer(1, one_in) == 1;
      uint32_t used = 0;
      const uint64_t begin = values.size();
      for (int t = 0; t < taps; ++t)
        for (int c = 0; c < cin; ++c, to += kPanel) {
          const bool real = kept[size_t(t * cin + c)];
          for (int lane = 0; lane < kPanel; ++lane) to[lane] = real && lane < place.count ? random.real() : 0.0f;
          if (!real) continue;
          ++used;
          values.insert(values.end(), to, to + kPanel);
          if (!again)
            offsets.push_back(int32_t(column_offset(w, l, place.group * cin + c, t / w.kernel_w, t % w.kernel_w)));
        }
      list.push_back({again ? list.back().first : first, used, begin});
    }
    offset = Buffer<int32_t>(offsets.size(), random);
    for (size_t i = 0; i < offsets.size(); ++i) offset[i] = offsets[i];
    value = Floats(values.size(), random);
    for (size_t i = 0; i < values.size(); ++i) value[i] = values[i];
  }
  PanelColumns columns() const { return {list.data(), offset.data(), value.data()}; }
};

void test_conv2d_columns(Pair k, uint32_t seed) {
  Random random(seed);
  const int groups = random.one_of({1, 1, 1, 2, 3});
  const int cin = groups * random.one_of({1, 2, 3, 7, 8, 16, 17, 33, 64});
  const int cout = groups * random.one_of({1, 3, 8, 9, 15, 16, 17, 24, 32, 33, 50, 70});
  const Window w = random_window(cin, cout, groups, random.one_of({4, 15, 40}), random);
  const ColumnsConv weights(w, random.coin(), random.one_of({1, 2, 3, 10, 100}), random);
  const int panels = groups * ((cout / groups + kPanel - 1) / kPanel);
  const Range part = random_range(panels, random), rows = random_range(w.out.height, random);
  const Floats in = random_floats(w.in.size(), random);
  const RandomEpilogue e(cout, random);
  Floats expected = untouched(w.out.size(), random);
  const size_t panel = size_t(w.kernel_h) * w.kernel_w * (cin / groups) * kPanel;
  k.oracle.conv2d(w, in.data(), weights.panels.data() + size_t(part.begin) * panel, e.epilogue, expected.data(), rows,
                  part, nullptr);
  for (const Kernels* set : {&k.oracle, &k.tested}) {
    Floats out = untouched(w.out.size(), random), scratch = random_floats(set->conv2d_columns_scratch(w), random);
    set->conv2d_columns(w, in.data(), weights.columns(), e.epilogue, out.data(), rows, part, scratch.data());
    // The plain kernel promises the dense one's bits.
    const int terms = w.kernel_h * w.kernel_w * cin / groups;
    const bool agree = set == &k.oracle ? same(out, expected) : close(out, expected, terms);
    check(agree, "%s conv2d_columns, seed %u: %s, rows %d..%d, panels %d..%d", set->name, seed, text_of(w).chars,
          rows.begin, rows.end, part.begin, part.end);
  }
}

// The pairs of channels whose kernels are not zero, transformed, beside panels of the same.
struct PairsConv {
  Floats panels;
  int tile;
  std::vector<uint32_t> begin, channel;
  Floats value;

  PairsConv(const Window& w, int tile, int one_in, Random& random) : panels(0, random), tile(tile), value(0, random) {
    const int cin = w.in.channels, cout = w.out.channels, taps = w.kernel_h * w.kernel_w;
    const size_t count = size_t((cout + kPanel - 1) / kPanel), size = size_t(taps) * cin * kPanel;
    const size_t floats = winograd_panel_floats(w, tile), points = floats / (size_t(cin) * kPanel);
    panels = Floats(count * size, random);
    for (size_t i = 0; i < panels.size(); ++i) panels[i] = 0;
    for (int o = 0; o < cout; ++o) {
      begin.push_back(uint32_t(channel.size()));
      for (int c = 0; c < cin; ++c) {
        if (random.integer(1, one_in) > 1) continue;
        channel.push_back(uint32_t(c));
        for (int t = 0; t < taps; ++t)
          panels[size_t(o / kPanel) * size + (size_t(t) * cin + c) * kPanel + o % kPanel] = random.real();
      }
    }
    begin.push_back(uint32_t(channel.size()));
    Floats transformed(count * floats, random);
    for (size_t p = 0; p < count; ++p)
      winograd_panel(w, tile, panels.data() + p * size, transformed.data() + p * floats);
    value = Floats(points * channel.size(), random);
    for (int o = 0; o < cout; ++o)
      for (uint32_t e = begin[size_t(o)]; e < begin[size_t(o) + 1]; ++e)
        for (size_t point = 0; point < points; ++point)
          value[point * channel.size() + e] =
              transformed[size_t(o / kPanel) * floats + (point * cin + channel[e]) * kPanel + o % kPanel];
  }
  ChannelPairs pairs() const { return {tile, uint32_t(channel.size()), begin.data(), channel.data(), value.data()}; }
};

// A random window that tiles of `tile` x `tile` outputs fit.
Window winograd_window(int tile, Random& random) {
  Window w;
  const int kernel = tile == 2 && random.coin() ? 5 : 3;
  w.kernel_h = w.kernel_w = kernel;
  w.pad_top = random.integer(0, kernel);
  w.pad_left = random.integer(0, kernel);
  w.in = {random.integer(kernel, 40), random.integer(kernel, 40), random.one_of({1, 3, 8, 12, 16, 17, 32, 50, 160})};
  w.out = {w.in.height + w.pad_top + random.integer(0, kernel) - kernel + 1,
           w.in.width + w.pad_left + random.integer(0, kernel) - kernel + 1,
           random.one_of({1, 7, 8, 9, 16, 20, 24, 32, 33, 48, 50, 64})};
  return w;
}

// Its error is a share of the largest output before the activation, as that of test_winograd.
void test_winograd_pairs(Pair k, uint32_t seed) {
  Random random(seed);
  const int tile = random.one_of({2, 4, 4});
  const Window w = winograd_window(tile, random);
  const PairsConv weights(w, tile, random.one_of({1, 2, 3, 10, 100}), random);
  const int cout = w.out.channels, panels = (cout + kPanel - 1) / kPanel, units = (w.out.height + tile - 1) / tile;
  const Range part = random_range(panels, random), some = random_range(units, random);
  const Range rows = {some.begin * tile, some.end * tile < w.out.height ? some.end * tile : w.out.height};
  const Range channels = {part.begin * kPanel, part.end * kPanel < cout ? part.end * kPanel : cout};
  const size_t panel = size_t(w.kernel_h * w.kernel_w * w.in.channels) * kPanel;
  const float* of_part = weights.panels.data() + size_t(part.begin) * panel;
  const Floats in = random_floats(w.in.size(), random);
  const RandomEpilogue e(cout, random);
  const Epilogue linear = {e.epilogue.scale, e.epilogue.bias, Activation::kNone};
  Floats out = untouched(w.out.size(), random), expected = out, before = out;
  Floats scratch = random_floats(k.tested.winograd_pairs_scratch(w, tile), random);
  k.tested.winograd_pairs(w, in.data(), weights.pairs(), e.epilogue, out.data(), rows, channels, scratch.data());
  k.oracle.conv2d(w, in.data(), of_part, e.epilogue, expected.data(), rows, part, nullptr);
  k.oracle.conv2d(w, in.data(), of_part, linear, before.data(), rows, part, nullptr);
  double largest = 1, worst = 0;
  bool untouched_agree = true;
  for (size_t i = 0; i < out.size(); ++i) {
    if (expected[i] == kUntouched || out[i] == kUntouched) {
      untouched_agree = untouched_agree && expected[i] == out[i];
      continue;
    }
    largest = std::fmax(largest, std::fabs(double(before[i])));
    worst = std::fmax(worst, std::fabs(double(expected[i]) - double(out[i])));
  }
  winograd_error = std::fmax(winograd_error, worst / largest);
  check(untouched_agree && worst <= kWinogradTolerance * largest,
        "winograd_pairs, seed %u: %s, tile %d, rows %d..%d, channels %d..%d, error %.2g", seed, text_of(w).chars, tile,
        rows.begin, rows.end, channels.begin, channels.end, worst / largest);
}

// How panels and rows are shared among threads must not change a bit.
void test_sharing(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const int tile = random.one_of({2, 4});
  const Window w = winograd_window(tile, random);
  const int cout = w.out.channels, panels = (cout + kPanel - 1) / kPanel, height = w.out.height;
  const ColumnsConv columns(w, random.coin(), 2, random);
  const PairsConv pairs(w, tile, 2, random);
  const Floats in = random_floats(w.in.size(), random);
  const RandomEpilogue e(cout, random);
  Floats scratch = random_floats(k.conv2d_columns_scratch(w), random);
  Floats room = random_floats(k.winograd_pairs ? k.winograd_pairs_scratch(w, tile) : 0, random);
  const auto run = [&](Range rows, Range of, Floats& by_columns, Floats& by_pairs) {
    k.conv2d_columns(w, in.data(), columns.columns(), e.epilogue, by_columns.data(), rows, of, scratch.data());
    const Range channels = {of.begin * kPanel, of.end * kPanel < cout ? of.end * kPanel : cout};
    if (k.winograd_pairs)
      k.winograd_pairs(w, in.data(), pairs.pairs(), e.epilogue, by_pairs.data(), rows, channels, room.data());
  };
  Floats whole_columns = untouched(w.out.size(), random), parts_columns = whole_columns;
  Floats whole_pairs = whole_columns, parts_pairs = whole_columns;
  run({0, height}, {0, panels}, whole_columns, whole_pairs);
  for (int row = 0; row < height;) {
    const int end = row + tile * random.integer(1, 3), stop = end < height ? end : height;
    for (int p = 0; p < panels;) {
      const int last = p + random.integer(1, 3), to = last < panels ? last : panels;
      run({row, stop}, {p, to}, parts_columns, parts_pairs);
      p = to;
    }
    row = stop;
  }
  check(same(parts_columns, whole_columns), "conv2d_columns in parts, seed %u: %s", seed, text_of(w).chars);
  check(same(parts_pairs, whole_pairs), "winograd_pairs in parts, seed %u: %s", seed, text_of(w).chars);
}

}  // namespace

int main() {
  for (const Kernels* fast : {avx2_kernels(), avx512_kernels(), neon_kernels()}) {
    if (!fast) continue;
    const Pair pair = {*fast, plain_kernels()};
    for (uint32_t seed = 0; seed < 600; ++seed) {
      test_conv2d_columns(pair, seed);
      if (fast->winograd_pairs) test_winograd_pairs(pair, seed);
    }
    for (uint32_t seed = 0; seed < 200; ++seed) test_sharing(*fast, seed);
    std::printf("%s: winograd_pairs' largest error %.2g\n", fast->name, winograd_error);
  }
  std::printf("%d passed, %d failed\n", tally.passed, tally.failed);
  return tally.failed != 0;
}
