// Every kernel: the plain ones against direct computation and cases worked out by hand, the vector ones against those
// and, on random shapes, against the plain ones. Results that involve no rounding, and those whose rounding is fixed
// (pools, additions, binary convolution), must agree bit for bit; the others as `close` says.
#include "kernels_oracle.h"
#include "conv2d_sparse/layout.h"
#include "linear_sparse/regroup.h"
#include "winograd/winograd.h"

using namespace camfit_test;

namespace {

// Both tables, the one under test and the oracle.
struct Pair {
  const Kernels &tested, &oracle;
};

constexpr double kWinogradTolerance = 1e-5;
double winograd_error = 0;

void test_conv2d(Pair k, uint32_t seed) {
  Random random(seed);
  const int groups = random.one_of({1, 1, 1, 2, 3, 5});
  const int cin = groups * (random.coin() ? random.integer(1, 70) : random.one_of({1, 2, 3, 4, 5, 7, 8, 16, 17, 31, 32, 33, 48, 64}));
  const int cout = groups * (random.coin() ? random.integer(1, 70) : random.one_of({1, 3, 8, 9, 15, 16, 17, 20, 24, 31, 33, 50, 64}));
  const Window w = random_window(cin, cout, groups, random.coin() ? 4 : 15, random);
  const int panels = groups * ((cout / groups + kPanel - 1) / kPanel), taps = w.kernel_h * w.kernel_w;
  const size_t panel_size = size_t(taps) * (cin / groups) * kPanel;
  const Range part = random_range(panels, random), rows = random_range(w.out.height, random);
  const Floats in = random_floats(w.in.size(), random);
  const Floats weights = random_floats(size_t(part.end - part.begin) * panel_size, random);
  const RandomEpilogue e(cout, random);
  Floats out = untouched(w.out.size(), random), expected = untouched(w.out.size(), random);
  Floats scratch = random_floats(k.tested.conv2d_scratch(w), random);
  k.tested.conv2d(w, in.data(), weights.data(), e.epilogue, out.data(), rows, part, scratch.data());
  k.oracle.conv2d(w, in.data(), weights.data(), e.epilogue, expected.data(), rows, part, nullptr);
  check(close(out, expected, taps * cin / groups), "conv2d, seed %u: %s, rows %d..%d, panels %d..%d", seed,
        text_of(w).chars, rows.begin, rows.end, part.begin, part.end);
}

// The taps of random weights beside the convolution from panels of the same.
struct SparseConv {
  Window w;
  Floats panels;
  std::vector<uint32_t> begin;
  Buffer<SparseTap> tap;

  SparseConv(const Window& window, int one_in, Random& random) : w(window), panels(0, random), tap(0, random) {
    const SparseLayout l = sparse_layout(w);
    const int cin = w.in.channels, cout = w.out.channels, taps = w.kernel_h * w.kernel_w;
    panels = Floats(size_t((cout + kPanel - 1) / kPanel) * taps * cin * kPanel, random);
    for (size_t i = 0; i < panels.size(); ++i) panels[i] = 0;
    std::vector<SparseTap> all;
    for (int block = 0; block < sparse_blocks(w, l); ++block)
      for (int o = 0; o < cout; ++o) {
        begin.push_back(uint32_t(all.size()));
        for (int c = block * l.channels; c < cin && c < (block + 1) * l.channels; ++c)
          for (int t = 0; t < taps; ++t) {
            if (random.integer(1, one_in) > 1) continue;
            const float value = random.real();
            all.push_back({int32_t(sparse_offset(w, l, c, t / w.kernel_w, t % w.kernel_w)), value});
            panels[((size_t(o / kPanel) * taps + t) * cin + c) * kPanel + o % kPanel] = value;
          }
      }
    begin.push_back(uint32_t(all.size()));
    tap = Buffer<SparseTap>(all.size(), random);
    for (size_t i = 0; i < all.size(); ++i) tap[i] = all[i];
  }
  SparseTaps taps() const { return {begin.data(), tap.data()}; }
};

void test_conv2d_sparse(Pair k, uint32_t seed) {
  Random random(seed);
  const int cin = random.one_of({1, 2, 3, 4, 7, 8, 16, 17, 31, 48, 64, 130}), cout = random.integer(1, 70);
  const Window window = random_window(cin, cout, 1, random.one_of({4, 15, 30}), random);
  const SparseConv sparse(window, random.one_of({1, 4, 10, 50}), random);
  const Window& w = sparse.w;
  const int panels = (cout + kPanel - 1) / kPanel;
  const Range part = random_range(cout, random), rows = random_range(w.out.height, random);
  const Floats in = random_floats(w.in.size(), random);
  const RandomEpilogue e(cout, random);
  Floats dense = untouched(w.out.size(), random), expected = untouched(w.out.size(), random);
  k.oracle.conv2d(w, in.data(), sparse.panels.data(), e.epilogue, dense.data(), {0, w.out.height}, {0, panels},
                  nullptr);
  for (int y = rows.begin; y < rows.end; ++y)
    for (int x = 0; x < w.out.width; ++x)
      for (int o = part.begin; o < part.end; ++o) {
        const size_t at = (size_t(y) * w.out.width + x) * cout + o;
        expected[at] = dense[at];
      }
  for (const Kernels* set : {&k.oracle, &k.tested}) {
    Floats out = untouched(w.out.size(), random), scratch = random_floats(set->conv2d_sparse_scratch(w), random);
    set->conv2d_sparse(w, in.data(), sparse.taps(), e.epilogue, out.data(), rows, part, scratch.data());
    check(close(out, expected, w.kernel_h * w.kernel_w * cin),
          "%s conv2d_sparse, seed %u: %s, rows %d..%d, channels %d..%d", set->name, seed, text_of(w).chars, rows.begin, rows.end, part.begin, part.end);
  }
}

// Winograd's error grows with the sums of its whole tile, not with each output, so it is told as a share of the largest
// output before the activation. The largest on these shapes is printed; 2.4e-6 with any set.
void test_winograd(const Kernels& tested, uint32_t seed) {
  Random random(seed);
  Window w;
  const int tile = random.one_of({2, 4, 4}), kernel = tile == 2 && random.coin() ? 5 : 3;
  w.kernel_h = w.kernel_w = kernel;
  w.pad_top = random.integer(0, kernel);
  w.pad_left = random.integer(0, kernel);
  const int channels_in = random.coin() ? random.integer(1, 70) : random.one_of({1, 3, 8, 12, 16, 17, 32, 50, 64, 160});
  w.in = {random.integer(kernel, 24), random.integer(kernel, 24), channels_in};
  w.out = {w.in.height + w.pad_top + random.integer(0, kernel) - kernel + 1,
           w.in.width + w.pad_left + random.integer(0, kernel) - kernel + 1,
           random.coin() ? random.integer(1, 70) : random.one_of({1, 7, 8, 9, 16, 20, 24, 32, 33, 48, 50, 64})};
  const int panels = (w.out.channels + kPanel - 1) / kPanel, units = (w.out.height + tile - 1) / tile;
  const Range part = random_range(panels, random), some = random_range(units, random);
  const Range rows = {some.begin * tile, some.end * tile < w.out.height ? some.end * tile : w.out.height};
  const size_t count = size_t(part.end - part.begin), size = size_t(kernel * kernel * w.in.channels) * kPanel;
  const Floats in = random_floats(w.in.size(), random), weights = random_floats(count * size, random);
  const RandomEpilogue e(w.out.channels, random);
  Floats transformed = untouched(count * winograd_panel_floats(w, tile), random);
  for (size_t p = 0; p < count; ++p)
    winograd_panel(w, tile, weights.data() + p * size, transformed.data() + p * winograd_panel_floats(w, tile));
  Floats out = untouched(w.out.size(), random), expected = untouched(w.out.size(), random);
  Floats scratch = random_floats(tested.winograd_scratch(w, tile), random);
  tested.winograd(w, tile, in.data(), transformed.data(), e.epilogue, out.data(), rows, part, scratch.data());
  plain_kernels().conv2d(w, in.data(), weights.data(), e.epilogue, expected.data(), rows, part, nullptr);
  Floats before = untouched(w.out.size(), random);
  const Epilogue linear = {e.epilogue.scale, e.epilogue.bias, Activation::kNone};
  plain_kernels().conv2d(w, in.data(), weights.data(), linear, before.data(), rows, part, nullptr);
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
        "winograd, seed %u: %s, tile %d, rows %d..%d, panels %d..%d, error %.2g", seed, text_of(w).chars, tile,
        rows.begin, rows.end, part.begin, part.end, worst / largest);
}

void test_depthwise(Pair k, uint32_t seed) {
  Random random(seed);
  const int channels = random.integer(1, 70);
  const Window w = random_window(channels, channels, channels, 15, random);
  const Range rows = random_range(w.out.height, random);
  const Floats in = random_floats(w.in.size(), random);
  const Floats weights = random_floats(size_t(w.kernel_h) * w.kernel_w * channels, random);
  const RandomEpilogue e(channels, random);
  Floats out = untouched(w.out.size(), random), expected = untouched(w.out.size(), random);
  k.tested.depthwise(w, in.data(), weights.data(), e.epilogue, out.data(), rows);
  k.oracle.depthwise(w, in.data(), weights.data(), e.epilogue, expected.data(), rows);
  check(close(out, expected, w.kernel_h * w.kernel_w), "depthwise, seed %u: %s, rows %d..%d", seed, text_of(w).chars,
        rows.begin, rows.end);
}

// How an op's panels and rows are shared among threads must not change a bit of its output.
void test_sharing(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const int cin = random.one_of({3, 8, 17, 32}), cout = random.integer(1, 90), kernel = random.one_of({1, 3, 5});
  Window w;
  w.kernel_h = w.kernel_w = kernel;
  w.pad_top = w.pad_left = kernel / 2;
  w.in = {random.integer(1, 14), random.integer(1, 14), cin};
  w.out = {w.in.height, w.in.width, cout};
  const int tile = kernel == 5 ? 2 : kernel == 3 ? random.one_of({2, 4}) : 1;
  const int panels = (cout + kPanel - 1) / kPanel, height = w.out.height;
  const bool tiled = tile > 1 && k.winograd;
  const size_t direct = size_t(kernel) * kernel * cin * kPanel, size = tiled ? winograd_panel_floats(w, tile) : direct;
  const Floats in = random_floats(w.in.size(), random), weights = random_floats(size_t(panels) * size, random);
  const RandomEpilogue e(cout, random);
  Floats whole = untouched(w.out.size(), random), parts = untouched(w.out.size(), random);
  Floats whole_direct = whole, parts_direct = parts;
  Floats scratch = random_floats(k.conv2d_scratch(w), random);
  Floats room = random_floats(tiled ? k.winograd_scratch(w, tile) : 0, random);
  const auto run = [&](Range rows, Range of, Floats& out, Floats& out_direct) {
    k.conv2d(w, in.data(), weights.data() + size_t(of.begin) * direct, e.epilogue, out_direct.data(), rows, of,
             scratch.data());
    if (tiled)
      k.winograd(w, tile, in.data(), weights.data() + size_t(of.begin) * size, e.epilogue, out.data(), rows, of,
                 room.data());
  };
  const SparseConv sparse(w, 5, random);
  Floats whole_sparse = whole, parts_sparse = parts, planes = random_floats(k.conv2d_sparse_scratch(w), random);
  const auto run_sparse = [&](Range rows, Range channels, Floats& to) {
    k.conv2d_sparse(w, in.data(), sparse.taps(), e.epilogue, to.data(), rows, channels, planes.data());
  };
  run({0, height}, {0, panels}, whole, whole_direct);
  run_sparse({0, height}, {0, cout}, whole_sparse);
  for (int row = 0; row < height;) {
    const int end = row + tile * random.integer(1, 3), stop = end < height ? end : height;
    for (int p = 0; p < panels;) {
      const int last = p + random.integer(1, 3), to = last < panels ? last : panels;
      run({row, stop}, {p, to}, parts, parts_direct);
      run_sparse({row, stop}, {p * kPanel, to * kPanel < cout ? to * kPanel : cout}, parts_sparse);
      p = to;
    }
    row = stop;
  }
  check(same(parts_direct, whole_direct), "conv2d in parts, seed %u: %s", seed, text_of(w).chars);
  check(same(parts_sparse, whole_sparse), "conv2d_sparse in parts, seed %u: %s", seed, text_of(w).chars);
  check(same(parts, whole), "winograd in parts, seed %u: %s, tile %d", seed, text_of(w).chars, tile);

  const size_t vector = size_t(cin) * kPanel;
  Floats y = untouched(size_t(cout), random), y_parts = untouched(size_t(cout), random);
  k.linear(cin, cout, in.data(), weights.data(), e.epilogue, y.data(), {0, panels});
  for (int p = 0; p < panels; ++p)
    k.linear(cin, cout, in.data(), weights.data() + size_t(p) * vector, e.epilogue, y_parts.data(), {p, p + 1});
  check(same(y_parts, y), "linear in parts, seed %u: %d -> %d", seed, cin, cout);
}

void test_linear(Pair k, uint32_t seed) {
  Random random(seed);
  const int cin = random.integer(1, 300), cout = random.integer(1, 150), panels = (cout + kPanel - 1) / kPanel;
  const Range part = random_range(panels, random);
  const Floats in = random_floats(size_t(cin), random);
  const Floats weights = random_floats(size_t(part.end - part.begin) * cin * kPanel, random);
  const RandomEpilogue e(cout, random);
  Floats out = untouched(size_t(cout), random), expected = untouched(size_t(cout), random);
  k.tested.linear(cin, cout, in.data(), weights.data(), e.epilogue, out.data(), part);
  k.oracle.linear(cin, cout, in.data(), weights.data(), e.epilogue, expected.data(), part);
  check(close(out, expected, cin), "linear, seed %u: %d -> %d, panels %d..%d", seed, cin, cout, part.begin, part.end);
}

void test_linear_sparse(Pair k, uint32_t seed) {
  Random random(seed);
  const int rows = random.integer(1, 40), columns = random.integer(1, 900), entries = random.integer(1, 300);
  const int one_in = random.one_of({1, 3, 10, 100});
  std::vector<uint32_t> chosen;
  Buffer<uint32_t> begin(size_t(rows) + 1, random);
  for (int i = 0; i < rows; ++i) {
    begin[i] = uint32_t(chosen.size());
    for (int j = 0; j < columns; ++j)
      if (random.integer(1, one_in) == 1) chosen.push_back(uint32_t(j));
  }
  begin[rows] = uint32_t(chosen.size());
  Buffer<uint16_t> column16(chosen.size(), random), code(chosen.size(), random);
  Buffer<uint32_t> column32(chosen.size(), random);
  for (size_t i = 0; i < chosen.size(); ++i) {
    column16[i] = uint16_t(column32[i] = chosen[i]);
    code[i] = uint16_t(random.integer(0, entries - 1));
  }
  const Floats codebook = random_floats(size_t(entries), random), in = random_floats(size_t(columns), random);
  const bool narrow = random.coin();
  const void* column = narrow ? static_cast<const void*>(column16.data()) : column32.data();
  const SparseRows sparse = {begin.data(), column, narrow, code.data(), codebook.data()};
  const Range part = random_range(rows, random);
  const RandomEpilogue e(rows, random);
  Floats out = untouched(size_t(rows), random), expected = untouched(size_t(rows), random);
  k.tested.linear_sparse(sparse, in.data(), e.epilogue, out.data(), part);
  k.oracle.linear_sparse(sparse, in.data(), e.epilogue, expected.data(), part);
  check(close(out, expected, columns), "linear_sparse, seed %u: %dx%d, %d entries, 1 of %d, rows %d..%d", seed, rows,
        columns, entries, one_in, part.begin, part.end);
}

// Each form of a random sparse matrix against the rows that it was made of; parts of the rows give the same bits.
void test_linear_forms(Pair k, uint32_t seed) {
  Random random(seed);
  const int height = random.integer(1, 60), width = random.one_of({1, 15, 32, 40, 300, 4095, 4096, 4097, 9000});
  const int entries = random.integer(1, 16), one_in = random.one_of({1, 3, 10, 100});
  const bool alike = random.coin();  // blocks of rows with the same columns
  std::vector<uint32_t> begin = {0}, chosen;
  for (int i = 0; i < height; ++i) {
    if (alike && i % kBlockRows) {
      const std::vector<uint32_t> last(chosen.begin() + begin[size_t(i) - 1], chosen.end());
      chosen.insert(chosen.end(), last.begin(), last.end());
    } else {
      for (int j = 0; j < width; ++j)
        if (random.integer(1, one_in) == 1) chosen.push_back(uint32_t(j));
    }
    begin.push_back(uint32_t(chosen.size()));
  }
  Buffer<uint16_t> code(chosen.size(), random);
  for (size_t i = 0; i < chosen.size(); ++i) code[i] = uint16_t(random.integer(0, entries - 1));
  const Floats codebook = random_floats(size_t(entries), random), in = random_floats(size_t(width), random);
  const SparseMatrix m = {{begin.data(), chosen.data(), false, code.data(), codebook.data()}, height, width};
  const RandomEpilogue e(height, random);
  Floats expected = untouched(size_t(height), random);
  k.oracle.linear_sparse(m.rows, in.data(), e.epilogue, expected.data(), {0, height});
  const auto compare = [&](const char* form, const auto& multiply, int unit) {
    for (const Kernels* set : {&k.oracle, &k.tested}) {
      Floats out = untouched(size_t(height), random), parts = untouched(size_t(height), random);
      multiply(*set, out.data(), Range{0, height});
      for (int row = 0; row < height;) {
        const int end = row + unit * random.integer(1, 3), stop = end < height ? end : height;
        multiply(*set, parts.data(), Range{row, stop});
        row = stop;
      }
      check(close(out, expected, width) && same(out, parts), "%s %s, seed %u: %dx%d, %d entries, 1 of %d", set->name,
            form, seed, height, width, entries, one_in);
    }
  };

  Floats values(chosen.size(), random);
  for (size_t i = 0; i < chosen.size(); ++i) values[i] = codebook[code[i]];
  const SparseRows plain = {begin.data(), chosen.data(), false, nullptr, values.data()};
  compare("rows of values", [&](const Kernels& set, float* to, Range rows) {
    set.linear_sparse(plain, in.data(), e.epilogue, to, rows);
  }, 1);

  const size_t blocks = size_t((width + kChunkColumns - 1) / kChunkColumns);
  Buffer<uint32_t> chunk_begin(blocks * size_t(height) + 1, random);
  Buffer<uint16_t> counts(blocks * size_t(height) * size_t(entries), random);
  const size_t chunks = size_t(count_chunks(m, uint32_t(entries), chunk_begin.data(), counts.data()));
  Buffer<uint16_t> column(4 * chunks, random);
  Buffer<uint8_t> chunk_code(chunks, random);
  fill_chunks(m, uint32_t(entries), chunk_begin.data(), counts.data(), column.data(), chunk_code.data());
  const SparseChunks by_code = {height, width, chunk_begin.data(), column.data(), chunk_code.data(), codebook.data()};
  compare("linear_chunks", [&](const Kernels& set, float* to, Range rows) {
    set.linear_chunks(by_code, in.data(), e.epilogue, to, rows);
  }, 1);

  const bool coded = entries < 16 && random.coin();
  Buffer<uint32_t> block_begin(size_t((height + kBlockRows - 1) / kBlockRows) + 1, random);
  const size_t count = size_t(count_blocks(m, block_begin.data()));
  check(!alike || count * kBlockRows < chosen.size() + size_t(width) * kBlockRows, "blocks of equal rows, seed %u",
        seed);
  Buffer<uint32_t> block_column(count, random), codes(coded ? count : 0, random);
  Floats value(coded ? 0 : count * kBlockRows, random);
  fill_blocks(m, block_column.data(), coded ? nullptr : value.data(), codes.data(), 1);
  SparseBlocks in_blocks = {height, block_begin.data(), block_column.data(), coded ? nullptr : value.data(),
                            codes.data(), {}};
  for (int i = 0; coded && i < entries; ++i) in_blocks.codebook[i + 1] = codebook[i];
  compare("linear_blocks", [&](const Kernels& set, float* to, Range rows) {
    set.linear_blocks(in_blocks, in.data(), e.epilogue, to, rows);
  }, kBlockRows);

  Buffer<uint32_t> word(size_t(tile_words(m)), random), rest_begin(size_t(height) + 1, random);
  const size_t rest = size_t(count_rest(m));
  Buffer<uint16_t> rest_column(rest, random), rest_code(rest, random);
  fill_tiles(m, word.data(), rest_begin.data(), rest_column.data(), rest_code.data());
  check(rest_begin[size_t(height)] == rest, "the rest of tiles, seed %u", seed);
  const SparseRows others = {rest_begin.data(), rest_column.data(), true, rest_code.data(), nullptr};
  SparseTiles tiles = {height, width, word.data(), others, {}};
  for (int i = 0; i < entries; ++i) tiles.codebook[i + 1] = codebook[i];
  compare("linear_tiles", [&](const Kernels& set, float* to, Range rows) {
    if (set.linear_tiles)
      set.linear_tiles(tiles, in.data(), e.epilogue, to, rows);
    else
      set.linear_sparse(m.rows, in.data(), e.epilogue, to, rows);
  }, kTileRows);
}

void test_hashed(Pair k, uint32_t seed) {
  Random random(seed);
  const int rows = random.integer(1, 20), columns = random.integer(1, 500);
  const uint32_t buckets = uint32_t(random.one_of({1, 2, 7, 100, 65536, 100003}));
  const Floats bucket = random_floats(buckets, random), in = random_floats(size_t(columns), random);
  const HashedRows hashed = {bucket.data(), buckets, uint32_t(random.bits()), uint32_t(columns), random.coin()};
  const Range part = random_range(rows, random), some = random_range(columns, random);
  const RandomEpilogue e(rows, random);
  Floats out = untouched(size_t(rows), random), expected = untouched(size_t(rows), random);
  k.tested.linear_hashed(hashed, in.data(), e.epilogue, out.data(), part);
  k.oracle.linear_hashed(hashed, in.data(), e.epilogue, expected.data(), part);
  check(close(out, expected, columns), "linear_hashed, seed %u: %dx%d, %u buckets, hash seed %u", seed, rows, columns,
        buckets, hashed.seed);
  const uint32_t row = uint32_t(random.bits());
  const size_t count = size_t(some.end - some.begin);
  Floats line = untouched(count, random), expected_line = untouched(count, random);
  k.tested.hashed_row(hashed, row, some, line.data());
  k.oracle.hashed_row(hashed, row, some, expected_line.data());
  check(same(line, expected_line), "hashed_row, seed %u: row %u, columns %d..%d, %u buckets, hash seed %u", seed, row,
        some.begin, some.end, buckets, hashed.seed);
}

void test_binary(Pair k, uint32_t seed) {
  Random random(seed);
  const int cin = random.one_of({1, 3, 8, 16, 17, 32, 63, 64, 65, 100, 128, 192, 256, 520, 1100});
  const int cout = random.one_of({1, 7, 8, 15, 16, 17, 31, 32, 40, 48, 64, 65, 100, 130});
  const Window w = random_window(cin, cout, 1, random.coin() ? 3 : 12, random);
  const int words = (cin + 63) / 64, pixels = w.in.height * w.in.width;
  const Floats in = random_floats(w.in.size(), random);
  Buffer<uint64_t> packed(size_t(pixels) * words, random), expected_packed(size_t(pixels) * words, random);
  Floats mean = untouched(size_t(pixels), random), expected_mean = untouched(size_t(pixels), random);
  k.tested.pack_signs(in.data(), pixels, cin, packed.data(), mean.data());
  k.oracle.pack_signs(in.data(), pixels, cin, expected_packed.data(), expected_mean.data());
  check(std::memcmp(packed.data(), expected_packed.data(), packed.size() * sizeof(uint64_t)) == 0 &&
            close(mean, expected_mean, cin),
        "pack_signs, seed %u: %d pixels of %d channels", seed, pixels, cin);

  const Range rows = random_range(w.out.height, random), part = random_range(cout, random);
  Floats box = untouched(size_t(w.out.height) * w.out.width, random), expected_box = box;
  k.tested.box_filter(w, mean.data(), box.data(), rows);
  k.oracle.box_filter(w, mean.data(), expected_box.data(), rows);
  check(same(box, expected_box), "box_filter, seed %u: %s, rows %d..%d", seed, text_of(w).chars, rows.begin, rows.end);

  Buffer<uint64_t> weights(size_t(cout) * w.kernel_h * w.kernel_w * words, random);
  const uint64_t tail = cin % 64 ? (uint64_t(1) << cin % 64) - 1 : ~uint64_t(0);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = random.bits() & (int(i) % words == words - 1 ? tail : ~0ull);
  const RandomEpilogue e(cout, random);
  const float* factor = random.coin() ? box.data() : nullptr;
  Floats out = untouched(w.out.size(), random), expected = untouched(w.out.size(), random);
  k.tested.binary_conv2d(w, packed.data(), weights.data(), factor, e.epilogue, out.data(), rows, part);
  k.oracle.binary_conv2d(w, packed.data(), weights.data(), factor, e.epilogue, expected.data(), rows, part);
  check(same(out, expected), "binary_conv2d, seed %u: %s, rows %d..%d, channels %d..%d", seed, text_of(w).chars,
        rows.begin, rows.end, part.begin, part.end);
}

void test_pool(Pair k, uint32_t seed) {
  Random random(seed);
  const Window w = random_pool(random.integer(1, 40), random);
  const Range rows = random_range(w.out.height, random);
  const Floats in = random_floats(w.in.size(), random);
  Floats out = untouched(w.out.size(), random), expected = untouched(w.out.size(), random);
  k.tested.max_pool(w, in.data(), out.data(), rows);
  k.oracle.max_pool(w, in.data(), expected.data(), rows);
  check(same(out, expected), "max_pool, seed %u: %s, rows %d..%d", seed, text_of(w).chars, rows.begin, rows.end);
  const bool count_pad = random.coin();
  k.tested.avg_pool(w, in.data(), count_pad, out.data(), rows);
  k.oracle.avg_pool(w, in.data(), count_pad, expected.data(), rows);
  check(same(out, expected), "avg_pool, seed %u: %s, count_include_pad %d", seed, text_of(w).chars, count_pad);
  Floats mean = untouched(size_t(w.in.channels), random), expected_mean = untouched(size_t(w.in.channels), random);
  k.tested.global_avg_pool(w.in, in.data(), mean.data());
  k.oracle.global_avg_pool(w.in, in.data(), expected_mean.data());
  check(same(mean, expected_mean), "global_avg_pool, seed %u: %s", seed, text_of(w).chars);
}

void test_elementwise(Pair k, uint32_t seed) {
  Random random(seed);
  const Shape shape = {random.integer(1, 12), random.integer(1, 12), random.integer(1, 40)};
  const int pixels = shape.height * shape.width, channels = shape.channels;
  const size_t count = shape.size();
  const char* where = "seed %u: %dx%dx%d";
  char message[64];
  std::snprintf(message, sizeof message, where, seed, shape.height, shape.width, channels);
  Floats a = random_floats(count, random), b = random_floats(count, random);
  for (size_t i = 0; i < count; ++i) a[i] *= 9;
  Floats out = untouched(count, random), expected = untouched(count, random);
  const Activation kind = Activation(random.integer(0, 2));
  k.tested.add(a.data(), b.data(), kind, out.data(), count);
  k.oracle.add(a.data(), b.data(), kind, expected.data(), count);
  check(same(out, expected), "add, %s", message);
  k.tested.flatten(shape, a.data(), out.data());
  k.oracle.flatten(shape, a.data(), expected.data());
  check(same(out, expected), "flatten, %s", message);
  const RandomEpilogue e(channels, random);
  k.tested.affine(a.data(), pixels, channels, e.epilogue, out.data());
  k.oracle.affine(a.data(), pixels, channels, e.epilogue, expected.data());
  check(close(out, expected, 1), "affine, %s", message);
  const Floats scale = random_floats(size_t(channels), random), shift = random_floats(size_t(channels), random);
  Buffer<uint8_t> raw(count, random);
  for (size_t i = 0; i < count; ++i) raw[i] = uint8_t(random.integer(0, 255));
  k.tested.normalise_u8(raw.data(), pixels, channels, scale.data(), shift.data(), out.data());
  k.oracle.normalise_u8(raw.data(), pixels, channels, scale.data(), shift.data(), expected.data());
  check(same(out, expected), "normalise_u8, %s", message);
  k.tested.normalise_f32(a.data(), pixels, channels, scale.data(), shift.data(), out.data());
  k.oracle.normalise_f32(a.data(), pixels, channels, scale.data(), shift.data(), expected.data());
  check(same(out, expected), "normalise_f32, %s", message);
  const int classes = int(count < 100 ? count : 100);
  double sum = 0;
  bool agree = true;
  k.tested.softmax(a.data(), out.data(), classes);
  k.oracle.softmax(a.data(), expected.data(), classes);
  for (int i = 0; i < classes; ++i) {
    agree = agree && std::fabs(out[i] - expected[i]) <= 1.5e-6f * expected[i];
    sum += double(out[i]);
  }
  check(agree && std::fabs(sum - 1) < 1e-6, "softmax of %d, %s", classes, message);
  Floats in_place = a;
  k.oracle.activation(a.data(), kind, expected.data(), count);
  k.tested.activation(in_place.data(), kind, in_place.data(), count);
  check(same(in_place, expected), "activation in place, %s", message);
}

void test_channel_shuffle(Pair k, uint32_t seed) {
  Random random(seed);
  const int groups = random.one_of({1, 2, 3, 4, 5, 8}), pixels = random.integer(0, 9);
  const int channels = groups * random.integer(1, 30);
  const size_t count = size_t(pixels) * size_t(channels);
  const Floats in = random_floats(count, random);
  Floats out = untouched(count, random), expected = untouched(count, random), back = untouched(count, random);
  k.tested.channel_shuffle(in.data(), pixels, channels, groups, out.data());
  k.oracle.channel_shuffle(in.data(), pixels, channels, groups, expected.data());
  check(same(out, expected), "channel_shuffle, seed %u: %d pixels of %d channels, %d groups", seed, pixels, channels,
        groups);
  k.tested.channel_shuffle(out.data(), pixels, channels, channels / groups, back.data());
  check(same(back, in), "channel_shuffle there and back, seed %u", seed);
}

void test_depth_to_space(const Kernels& k, uint32_t seed) {
  Random random(seed);
  Window w;
  w.in = {random.integer(1, 5), random.integer(1, 5), 0};
  w.stride_h = random.integer(1, 4);
  w.stride_w = random.integer(1, 4);
  const int height = w.in.height * w.stride_h, width = w.in.width * w.stride_w;
  w.pad_top = random.integer(0, height - 1);
  w.pad_left = random.integer(0, width - 1);
  w.out = {random.integer(1, height - w.pad_top), random.integer(1, width - w.pad_left), random.integer(1, 20)};
  w.in.channels = w.stride_h * w.stride_w * w.out.channels;
  const Floats in = random_floats(w.in.size(), random);
  Floats out = untouched(w.out.size(), random), expected = untouched(w.out.size(), random);
  std::vector<uint8_t> bytes(w.in.size()), out_bytes(w.out.size()), expected_bytes(w.out.size());
  for (uint8_t& value : bytes) value = uint8_t(random.integer(0, 255));
  // From the input's side: where each of its values goes.
  for (size_t i = 0; i < w.in.size(); ++i) {
    const int channel = int(i) % w.in.channels, pixel = int(i) / w.in.channels, part = channel / w.out.channels;
    const int y = pixel / w.in.width * w.stride_h + part / w.stride_w - w.pad_top;
    const int x = pixel % w.in.width * w.stride_w + part % w.stride_w - w.pad_left;
    if (y < 0 || y >= w.out.height || x < 0 || x >= w.out.width) continue;
    const size_t at = (size_t(y) * w.out.width + size_t(x)) * w.out.channels + size_t(channel % w.out.channels);
    expected[at] = in[i];
    expected_bytes[at] = bytes[i];
  }
  const int middle = w.out.height / 2;
  for (const Range rows : {Range{0, middle}, Range{middle, w.out.height}}) {
    k.depth_to_space(w, sizeof(float), reinterpret_cast<const uint8_t*>(in.data()),
                     reinterpret_cast<uint8_t*>(out.data()), rows);
    k.depth_to_space(w, 1, bytes.data(), out_bytes.data(), rows);
  }
  check(same(out, expected), "%s depth_to_space of floats, seed %u", k.name, seed);
  check(out_bytes == expected_bytes, "%s depth_to_space of bytes, seed %u", k.name, seed);
}

void test_table(const Kernels& k) {
  test_hand_computed(k);
  for (int cin : {5, 64, 504, 512, 520, 1000}) test_all_signs(k, cin, 4, 3);
  for (int cin : {1, 255, 256, 8192, 20000}) test_all_signs(k, cin, 1, 1);
  for (uint32_t seed = 0; seed < 150; ++seed) {
    test_conv2d_direct(k, seed);
    test_depthwise_direct(k, seed);
    test_binary_direct(k, seed);
    test_depth_to_space(k, seed);
  }
}

}  // namespace

int main() {
  test_xxh32();
  test_table(plain_kernels());
  for (const Kernels* fast : {avx2_kernels(), avx512_kernels(), neon_kernels()}) {
    if (!fast) continue;
    std::printf("%s\n", fast->name);
    test_table(*fast);
    const Pair pair = {*fast, plain_kernels()};
    for (uint32_t seed = 0; seed < 600; ++seed) {
      test_conv2d(pair, seed);
      test_winograd(*fast, seed);
      test_conv2d_sparse(pair, seed);
      test_depthwise(pair, seed);
      test_binary(pair, seed);
    }
    std::printf("winograd's largest error %.2g\n", winograd_error);
    for (uint32_t seed = 0; seed < 200; ++seed) {
      test_sharing(*fast, seed);
      test_linear(pair, seed);
      test_linear_sparse(pair, seed);
      test_linear_forms(pair, seed);
      test_hashed(pair, seed);
      test_pool(pair, seed);
      test_elementwise(pair, seed);
      test_channel_shuffle(pair, seed);
    }
  }
  std::printf("%d passed, %d failed\n", tally.passed, tally.failed);
  return tally.failed != 0;
}
