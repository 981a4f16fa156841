// Times each kernel, plain beside the others, on the shapes of the networks that camfit is measured on; one
// thread, warm caches.
// Prints the median time of one call and, where it says something, operations (2 per multiply-accumulate) a second.
//   kernels_bench [part of a name]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "../ops/conv2d_sparse/layout.h"
#include "../ops/kernels.h"
#include "../ops/linear_sparse/regroup.h"
#include "../ops/winograd/winograd.h"
#include "popcount_peak.h"

using namespace camfit;

namespace {

const char* wanted = "";
std::mt19937 engine(1);

// Floats that begin on a cache line, as an engine's buffers should: vectors that straddle two lines cost twice.
class Floats {
 public:
  explicit Floats(size_t count)
      : values(count + 15), shift((64 - reinterpret_cast<uintptr_t>(values.data()) % 64) % 64 / sizeof(float)) {}
  float* data() { return values.data() + shift; }
  const float* data() const { return values.data() + shift; }

 private:
  std::vector<float> values;
  size_t shift;
};

Floats floats(size_t count) {
  Floats result(count);
  uint32_t state = 1;
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    result.data()[i] = float(int(state >> 16) % 2001 - 1000) / 1000.0f;
  }
  return result;
}

// Median milliseconds of one call, over about 21 samples of at least 2 ms or one call.
double milliseconds(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  const auto sample = [&](int calls) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count() / calls;
  };
  const double once = std::max(sample(1), 1e-5);
  const int calls = std::max(1, int(2.0 / once)), samples = once > 50 ? 3 : 21;
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) times.push_back(sample(calls));
  std::nth_element(times.begin(), times.begin() + samples / 2, times.end());
  return times[samples / 2];
}

// Median milliseconds of two calls that take turns, so that what slows the machine down slows both.
std::pair<double, double> pair_milliseconds(const std::function<void()>& a, const std::function<void()>& b) {
  using Clock = std::chrono::steady_clock;
  const auto sample = [](const std::function<void()>& call, int calls) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count() / calls;
  };
  const int calls_a = std::max(1, int(1.0 / std::max(sample(a, 1), 1e-5)));
  const int calls_b = std::max(1, int(1.0 / std::max(sample(b, 1), 1e-5)));
  std::vector<double> times[2];
  for (int i = 0; i < 15; ++i) times[0].push_back(sample(a, calls_a)), times[1].push_back(sample(b, calls_b));
  for (auto& t : times) std::nth_element(t.begin(), t.begin() + 7, t.end());
  return {times[0][7], times[1][7]};
}

// One line: `call` with each table. `operations` of one call, 0 for none worth printing.
void line(const char* name, double operations, const std::function<void(const Kernels&)>& call) {
  if (!std::strstr(name, wanted)) return;
  const double plain = milliseconds([&] { call(plain_kernels()); });
  std::printf("%-44s plain %9.4f ms", name, plain);
  if (operations > 0) std::printf(" %7.1f Gop/s", operations / plain / 1e6);
  for (const Kernels* set : {avx2_kernels(), avx512_kernels(), neon_kernels()}) {
    if (!set) continue;
    const double fast = milliseconds([&] { call(*set); });
    std::printf("   %s %9.4f ms", set->name, fast);
    if (operations > 0) std::printf(" %8.1f Gop/s", operations / fast / 1e6);
    std::printf("   %6.1fx", plain / fast);
  }
  std::printf("\n");
  std::fflush(stdout);
}

Window window(int size, int cin, int cout, int kernel, int stride, int pad) {
  Window w;
  const int out = (size + 2 * pad - kernel) / stride + 1;
  w.in = {size, size, cin}, w.out = {out, out, cout};
  w.kernel_h = w.kernel_w = kernel, w.stride_h = w.stride_w = stride, w.pad_top = w.pad_left = pad;
  return w;
}

double operations(const Window& w) {
  return 2.0 * double(w.out.size()) * (w.in.channels / w.groups) * w.kernel_h * w.kernel_w;
}

void conv2d(const char* network, const Window& w) {
  char name[96];
  std::snprintf(name, sizeof name, "%s conv %dx%d/%d %d->%d @%d", network, w.kernel_h, w.kernel_w, w.stride_h,
                w.in.channels, w.out.channels, w.in.height);
  const int panels = (w.out.channels + kPanel - 1) / kPanel;
  const auto in = floats(w.in.size()), bias = floats(size_t(w.out.channels));
  const auto weights = floats(size_t(panels) * w.kernel_h * w.kernel_w * w.in.channels * kPanel);
  Floats out(w.out.size());
  size_t room = 0;
  for (const Kernels* set : {avx2_kernels(), avx512_kernels(), neon_kernels()})
    if (set) room = std::max(room, set->conv2d_scratch(w));
  Floats scratch(room);
  line(name, operations(w), [&](const Kernels& k) {
    k.conv2d(w, in.data(), weights.data(), {nullptr, bias.data(), Activation::kRelu}, out.data(), {0, w.out.height},
             {0, panels}, scratch.data());
  });
}

// The direct convolution beside each of Winograd's tiles; operations are those of the direct one.
void winograd(int size, int cin, int cout, int kernel) {
  const Window w = window(size, cin, cout, kernel, 1, kernel / 2);
  const int panels = (cout + kPanel - 1) / kPanel;
  const auto in = floats(w.in.size()), bias = floats(size_t(cout));
  const size_t panel = size_t(kernel) * kernel * cin * kPanel;
  const auto weights = floats(size_t(panels) * panel);
  Floats out(w.out.size());
  const Epilogue epilogue = {nullptr, bias.data(), Activation::kRelu};
  for (const Kernels* set : {avx2_kernels(), avx512_kernels(), neon_kernels()}) {
    char name[96];
    std::snprintf(name, sizeof name, "winograd %dx%d %d->%d @%d %s", kernel, kernel, cin, cout, size,
                  set ? set->name : "");
    if (!set || !std::strstr(name, wanted)) continue;
    Floats scratch(set->conv2d_scratch(w));
    const double direct = milliseconds([&] {
      set->conv2d(w, in.data(), weights.data(), epilogue, out.data(), {0, size}, {0, panels}, scratch.data());
    });
    std::printf("%-44s direct %8.4f ms %6.1f Gop/s", name, direct, operations(w) / direct / 1e6);
    for (int tile : {2, 4}) {
      if (!winograd_fits(w, tile)) continue;
      const size_t floats_of = winograd_panel_floats(w, tile);
      Floats transformed(floats_of * size_t(panels)), room(set->winograd_scratch(w, tile));
      for (size_t p = 0; p < size_t(panels); ++p)
        winograd_panel(w, tile, weights.data() + p * panel, transformed.data() + p * floats_of);
      const double fast = milliseconds([&] {
        set->winograd(w, tile, in.data(), transformed.data(), epilogue, out.data(), {0, size}, {0, panels},
                      room.data());
      });
      std::printf("   tile %d %8.4f ms %.2f", tile, fast, fast / direct);
    }
    std::printf("   (takes %d)\n", set->winograd_tile(w));
    std::fflush(stdout);
  }
}

// Convolution from the non-zero weights, of random positions, beside the set's way for dense weights: the ratio at each
// density.
void conv2d_sparse(const Window& w) {
  const SparseLayout l = sparse_layout(w);
  const int panels = (w.out.channels + kPanel - 1) / kPanel, taps = w.kernel_h * w.kernel_w, cin = w.in.channels;
  const auto in = floats(w.in.size()), bias = floats(size_t(w.out.channels));
  const Epilogue epilogue = {nullptr, bias.data(), Activation::kRelu};
  Floats out(w.out.size());
  for (const Kernels* set : {avx2_kernels(), avx512_kernels()}) {
    char name[96];
    std::snprintf(name, sizeof name, "conv2d_sparse %dx%d/%d %d->%d @%d %s", w.kernel_h, w.kernel_w, w.stride_h, cin,
                  w.out.channels, w.in.height, set ? set->name : "");
    if (!set || !std::strstr(name, wanted)) continue;
    const int tile = set->winograd_tile(w);
    const size_t panel = tile ? winograd_panel_floats(w, tile) : size_t(taps) * cin * kPanel;
    const auto weights = floats(panel * size_t(panels));
    const size_t of_dense = tile ? set->winograd_scratch(w, tile) : set->conv2d_scratch(w);
    Floats room(std::max(of_dense, set->conv2d_sparse_scratch(w)));
    const auto dense = [&] {
      if (tile)
        set->winograd(w, tile, in.data(), weights.data(), epilogue, out.data(), {0, w.out.height}, {0, panels},
                      room.data());
      else
        set->conv2d(w, in.data(), weights.data(), epilogue, out.data(), {0, w.out.height}, {0, panels}, room.data());
    };
    std::printf("%-40s", name);
    double even = 1, last = 0, last_ratio = 0;  // the density at which both take the same time
    for (double density : {0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5}) {
      std::vector<uint32_t> begin;
      std::vector<SparseTap> tap;
      for (int block = 0; block < sparse_blocks(w, l); ++block)
        for (int o = 0; o < w.out.channels; ++o) {
          begin.push_back(uint32_t(tap.size()));
          for (int c = block * l.channels; c < cin && c < (block + 1) * l.channels; ++c)
            for (int t = 0; t < taps; ++t)
              if (double(engine() % 10000) < density * 10000)
                tap.push_back({int32_t(sparse_offset(w, l, c, t / w.kernel_w, t % w.kernel_w)), 0.5f});
        }
      begin.push_back(uint32_t(tap.size()));
      const auto [sparse, full] = pair_milliseconds(
          [&] {
            set->conv2d_sparse(w, in.data(), {begin.data(), tap.data()}, epilogue, out.data(), {0, w.out.height},
                               {0, w.out.channels}, room.data());
          },
          dense);
      if (density == 0.02) std::printf(" %s %8.4f ms", tile ? "winograd" : "  direct", full);
      if (density == 0.1)
        std::printf("   [10 %%: %.4f ms, %.1f Gop/s]", sparse, operations(w) * density / sparse / 1e6);
      const double ratio = sparse / full;
      std::printf("  %g %% %.2f", density * 100, ratio);
      if (even == 1 && ratio > 1)
        even = last + (density - last) * (ratio > last_ratio ? (1 - last_ratio) / (ratio - last_ratio) : 1);
      last = density;
      last_ratio = ratio;
    }
    int rule = 0;  // per cent up to which the engine takes it
    while (rule < 100 && set->conv2d_sparse_cost(w).at((rule + 1) / 100.0 - 1e-9) < 1) ++rule;
    std::printf("   density: even at %s%.0f %%, sparse is taken below %d %%\n", even == 1 ? "more than " : "",
                (even == 1 ? last : even) * 100, rule);
    std::fflush(stdout);
  }
}

void depthwise(const char* network, int size, int channels, int stride) {
  Window w = window(size, channels, channels, 3, stride, 1);
  w.groups = channels;
  char name[96];
  std::snprintf(name, sizeof name, "%s depthwise 3x3/%d %d @%d", network, stride, channels, size);
  const auto in = floats(w.in.size()), weights = floats(size_t(9) * channels), bias = floats(size_t(channels));
  Floats out(w.out.size());
  line(name, operations(w), [&](const Kernels& k) {
    k.depthwise(w, in.data(), weights.data(), {nullptr, bias.data(), Activation::kRelu}, out.data(), {0, w.out.height});
  });
}

void linear(const char* network, int cin, int cout) {
  char name[96];
  std::snprintf(name, sizeof name, "%s linear %d->%d", network, cin, cout);
  const int panels = (cout + kPanel - 1) / kPanel;
  const auto in = floats(size_t(cin)), weights = floats(size_t(panels) * cin * kPanel);
  Floats out(static_cast<size_t>(cout));
  line(name, 2.0 * cin * cout, [&](const Kernels& k) {
    k.linear(cin, cout, in.data(), weights.data(), {}, out.data(), {0, panels});
  });
}

void linear_sparse(int cin, int cout, double kept, int entries, bool column16) {
  char name[96];
  std::snprintf(name, sizeof name, "linear_sparse %d->%d, %.0f %%, %d entries, u%d", cin, cout, kept * 100, entries,
                column16 ? 16 : 32);
  std::vector<uint32_t> begin = {0}, column;
  std::vector<uint16_t> code, narrow;
  for (int i = 0; i < cout; ++i) {
    for (int j = 0; j < cin; ++j)
      if (engine() % 1000 < unsigned(kept * 1000)) column.push_back(uint32_t(j));
    begin.push_back(uint32_t(column.size()));
  }
  for (uint32_t c : column) narrow.push_back(uint16_t(c)), code.push_back(uint16_t(engine() % unsigned(entries)));
  const auto in = floats(size_t(cin)), codebook = floats(size_t(entries));
  Floats out(static_cast<size_t>(cout));
  const void* columns = column16 ? static_cast<const void*>(narrow.data()) : column.data();
  const SparseRows rows = {begin.data(), columns, column16, code.data(), codebook.data()};
  line(name, 2.0 * double(column.size()),
       [&](const Kernels& k) { k.linear_sparse(rows, in.data(), {}, out.data(), {0, cout}); });
}

// Each form of a sparse matrix of 16 values beside the dense one, at several densities: nanoseconds of an entry (chunks: of
// a place; tiles: of a tile), and the time over that of the dense layer.
//
// Then the density at which the fastest form without blocks takes as long as the dense layer.
void linear_forms(int size) {
  const int panels = (size + kPanel - 1) / kPanel, entries = 15;
  const auto in = floats(size_t(size)), codebook = floats(size_t(entries));
  const auto dense = floats(size_t(panels) * size * kPanel);
  Floats out(static_cast<size_t>(size));
  for (const Kernels* set : {avx2_kernels(), avx512_kernels()}) {
    double even = 0, last = 0, last_ratio = 0;
    for (double density : {0.05, 0.1, 0.2, 0.3, 0.5, 0.7}) {
      double fastest = 1e9;  // of the forms without blocks, as a share of the dense time
      char name[96];
      std::snprintf(name, sizeof name, "linear_forms %d %s %g %%", size, set ? set->name : "", density * 100);
      if (!set || !std::strstr(name, wanted)) continue;
      std::printf("%-32s", name);
      const auto row = [&](const char* form, double per, const std::function<void()>& call) {
        const auto [time, full] = pair_milliseconds(
            call, [&] { set->linear(size, size, in.data(), dense.data(), {}, out.data(), {0, panels}); });
        std::printf("   %s %.2f ns %.2f", form, time / per * 1e6, time / full);
        if (std::strcmp(form, "blocks") && std::strcmp(form, "coded")) fastest = std::min(fastest, time / full);
      };
      for (bool blocks : {false, true}) {
        std::vector<uint32_t> begin = {0}, column;
        std::vector<uint16_t> code;
        for (int i = 0; i < size; ++i) {
          if (blocks && i % kBlockRows) {
            const std::vector<uint32_t> last(column.begin() + begin[size_t(i) - 1], column.end());
            column.insert(column.end(), last.begin(), last.end());
          } else {
            for (int j = 0; j < size; ++j)
              if (double(engine() % 10000) < density * 10000) column.push_back(uint32_t(j));
          }
          begin.push_back(uint32_t(column.size()));
        }
        for (size_t e = 0; e < column.size(); ++e) code.push_back(uint16_t(engine() % unsigned(entries)));
        const SparseMatrix m = {{begin.data(), column.data(), false, code.data(), codebook.data()}, size, size};
        if (blocks) {
          std::vector<uint32_t> first(size_t(size / kBlockRows) + 1);
          const size_t count = size_t(count_blocks(m, first.data()));
          std::vector<uint32_t> place(count), codes(count);
          Floats value(count * kBlockRows);
          SparseBlocks form = {size, first.data(), place.data(), value.data(), nullptr, {}};
          fill_blocks(m, place.data(), value.data(), nullptr, 0);
          row("blocks", double(count), [&] { set->linear_blocks(form, in.data(), {}, out.data(), {0, size}); });
          fill_blocks(m, place.data(), nullptr, codes.data(), 1);
          form.value = nullptr, form.codes = codes.data();
          std::copy(codebook.data(), codebook.data() + entries, form.codebook + 1);
          row("coded", double(count), [&] { set->linear_blocks(form, in.data(), {}, out.data(), {0, size}); });
          continue;
        }
        std::vector<uint16_t> narrow(column.begin(), column.end());
        Floats values(column.size());
        for (size_t e = 0; e < column.size(); ++e) values.data()[e] = codebook.data()[code[e]];
        const SparseRows plain = {begin.data(), narrow.data(), true, nullptr, values.data()};
        row("rows", double(column.size()), [&] { set->linear_sparse(plain, in.data(), {}, out.data(), {0, size}); });
        std::vector<uint32_t> of(size_t((size + kChunkColumns - 1) / kChunkColumns) * size_t(size) + 1);
        std::vector<uint16_t> counts(of.size() * size_t(entries));
        const size_t chunks = size_t(count_chunks(m, uint32_t(entries), of.data(), counts.data()));
        std::vector<uint16_t> places(4 * chunks);
        std::vector<uint8_t> chunk_code(chunks);
        fill_chunks(m, uint32_t(entries), of.data(), counts.data(), places.data(), chunk_code.data());
        const SparseChunks by_code = {size, size, of.data(), places.data(), chunk_code.data(), codebook.data()};
        row("chunks", 4 * double(chunks), [&] { set->linear_chunks(by_code, in.data(), {}, out.data(), {0, size}); });
        if (!set->linear_tiles) continue;
        std::vector<uint32_t> word(size_t(tile_words(m)) + 15), rest_begin(size_t(size) + 1);
        const size_t rest = size_t(count_rest(m));
        std::vector<uint16_t> rest_column(rest), rest_code(rest);
        uint32_t* aligned = word.data() + (64 - reinterpret_cast<uintptr_t>(word.data()) % 64) % 64 / 4;
        fill_tiles(m, aligned, rest_begin.data(), rest_column.data(), rest_code.data());
        const SparseRows others = {rest_begin.data(), rest_column.data(), true, rest_code.data(), nullptr};
        SparseTiles tiles = {size, size, aligned, others, {}};
        std::copy(codebook.data(), codebook.data() + entries, tiles.codebook + 1);
        row("tiles", double(tile_words(m)) / (kTileEntries / 3 * kTileRows),
            [&] { set->linear_tiles(tiles, in.data(), {}, out.data(), {0, size}); });
      }
      if (even == 0 && fastest > 1)
        even = last_ratio > 0 ? last + (density - last) * (1 - last_ratio) / (fastest - last_ratio) : density;
      last = density, last_ratio = fastest;
      std::printf("\n");
      std::fflush(stdout);
    }
    if (last > 0)
      std::printf("linear_forms %d %s density: even at %s%.0f %%\n", size, set->name, even == 0 ? "more than " : "",
                  (even == 0 ? last : even) * 100);
  }
}

// By one hash and by two, beside a dense layer of the size, in float32 and straight from memory.
void hashed(int cin, int cout, uint32_t buckets) {
  char name[96];
  const auto in = floats(size_t(cin)), bucket = floats(buckets);
  Floats out(static_cast<size_t>(cout)), row(static_cast<size_t>(cin));
  for (int hashes : {1, 2}) {
    const HashedRows rows = {bucket.data(), buckets, 7, uint32_t(cin), hashes == 1};
    std::snprintf(name, sizeof name, "linear_hashed %d->%d, %u buckets, %d hashes", cin, cout, buckets, hashes);
    line(name, 2.0 * cin * cout, [&](const Kernels& k) { k.linear_hashed(rows, in.data(), {}, out.data(), {0, cout}); });
    std::snprintf(name, sizeof name, "hashed_row x %d of %d, %u buckets, %d hashes", cout, cin, buckets, hashes);
    line(name, 0, [&](const Kernels& k) {
      for (int i = 0; i < cout; ++i) k.hashed_row(rows, uint32_t(i), {0, cin}, row.data());
    });
  }
}

#if defined(__x86_64__)
// The binary kernel beside the peak of its set's instructions, which take turns: POPCNT and the nibble look-up for
// AVX2, VPOPCNTDQ for AVX-512. Operations are those of taps that lie in the image.
void popcount_share(const Window& w) {
  char name[96];
  const int words = (w.in.channels + 63) / 64, taps = w.kernel_h * w.kernel_w, pixels = w.in.height * w.in.width;
  std::vector<uint64_t> weights(size_t(w.out.channels) * taps * words), packed(size_t(pixels) * words);
  const auto in = floats(w.in.size()), scale = floats(size_t(w.out.channels));
  for (auto& word : weights) word = uint64_t(engine()) << 32 | engine();
  Floats mean(static_cast<size_t>(pixels)), box(w.out.size() / w.out.channels), out(w.out.size()), from(2 * kPeakWords);
  auto* peak_words = reinterpret_cast<uint64_t*>(from.data());
  for (int i = 0; i < kPeakWords; ++i) peak_words[i] = uint64_t(engine()) << 32 | engine();
  double inside = 0;
  for (int y = 0; y < w.out.height; ++y)
    for (int x = 0; x < w.out.width; ++x) {
      const Range ky = valid_taps(y * w.stride_h - w.pad_top, w.kernel_h, w.dilation_h, w.in.height);
      const Range kx = valid_taps(x * w.stride_w - w.pad_left, w.kernel_w, w.dilation_w, w.in.width);
      inside += double(ky.end - ky.begin) * (kx.end - kx.begin);
    }
  const double done = 2.0 * inside * w.in.channels * w.out.channels;
  struct Peak {
    const char* name;
    const Kernels* set;
    uint64_t (*call)(const uint64_t*, uint64_t);
  };
  const bool counts = __builtin_cpu_supports("avx512vpopcntdq");
  for (const Peak& peak : {Peak{"POPCNT", avx2_kernels(), peak_popcnt}, Peak{"VPSHUFB", avx2_kernels(), peak_avx2},
                           Peak{"VPOPCNTQ", counts ? avx512_kernels() : nullptr, peak_avx512}}) {
    std::snprintf(name, sizeof name, "popcount_share %d->%d @%d %s", w.in.channels, w.out.channels, w.in.height,
                  peak.set ? peak.set->name : "");
    if (!peak.set || !std::strstr(name, wanted)) continue;
    const auto convolve = [&] {
      peak.set->binary_conv2d(w, packed.data(), weights.data(), box.data(), {scale.data(), nullptr, Activation::kNone},
                              out.data(), {0, w.out.height}, {0, w.out.channels});
    };
    uint64_t sum = 0;
    peak.set->pack_signs(in.data(), pixels, w.in.channels, packed.data(), mean.data());
    const auto [alone, most] = pair_milliseconds(convolve, [&] { sum += peak.call(peak_words, sum); });
    const auto [all, again] = pair_milliseconds(
        [&] {
          peak.set->pack_signs(in.data(), pixels, w.in.channels, packed.data(), mean.data());
          peak.set->box_filter(w, mean.data(), box.data(), {0, w.out.height});
          convolve();
        },
        [&] { sum += peak.call(peak_words, sum); });
    const double top = kPeakOperations / most / 1e6, second = kPeakOperations / again / 1e6;
    std::printf("%-34s XOR and %-8s %7.0f Gop/s   kernel %7.0f Gop/s, %3.0f %%   pack and K too %3.0f %%%s\n", name,
                peak.name, top, done / alone / 1e6, done / alone / 1e4 / top, done / all / 1e4 / second,
                sum == 1 ? "." : "");  // the sum is used, so it is computed
    std::fflush(stdout);
  }
}
#endif

void binary(const Window& w) {
  char name[96];
  const int words = (w.in.channels + 63) / 64, taps = w.kernel_h * w.kernel_w, pixels = w.in.height * w.in.width;
  const auto in = floats(w.in.size()), scale = floats(size_t(w.out.channels));
  std::vector<uint64_t> weights(size_t(w.out.channels) * taps * words), packed(size_t(pixels) * words);
  const uint64_t tail = w.in.channels % 64 ? (uint64_t(1) << w.in.channels % 64) - 1 : ~uint64_t(0);
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = (uint64_t(engine()) << 32 | engine()) & (i % size_t(words) == size_t(words) - 1 ? tail : ~0ull);
  Floats mean(static_cast<size_t>(pixels)), box(w.out.size() / w.out.channels), out(w.out.size());
  std::snprintf(name, sizeof name, "binary_conv2d %dx%d %d->%d @%d, pack and K too", w.kernel_h, w.kernel_w,
                w.in.channels, w.out.channels, w.in.height);
  line(name, operations(w), [&](const Kernels& k) {
    k.pack_signs(in.data(), pixels, w.in.channels, packed.data(), mean.data());
    k.box_filter(w, mean.data(), box.data(), {0, w.out.height});
    k.binary_conv2d(w, packed.data(), weights.data(), box.data(), {scale.data(), nullptr, Activation::kNone},
                    out.data(), {0, w.out.height}, {0, w.out.channels});
  });
}

// The float convolution as one would write it first, [cout, cin, kh, kw] on cin x height x width: what XNOR-Net's
// speed-up is measured against.
void plain_loop(const Window& w) {
  const char* name = "conv as a plain C loop 3x3 256->256 @14";
  if (!std::strstr(name, wanted)) return;
  const auto in = floats(w.in.size()), weights = floats(size_t(w.out.channels) * w.in.channels * 9);
  Floats out(w.out.size());
  const double time = milliseconds([&] {
    for (int o = 0; o < w.out.channels; ++o)
      for (int oy = 0; oy < w.out.height; ++oy)
        for (int ox = 0; ox < w.out.width; ++ox) {
          float sum = 0;
          for (int c = 0; c < w.in.channels; ++c)
            for (int ky = 0; ky < 3; ++ky)
              for (int kx = 0; kx < 3; ++kx) {
                const int y = oy + ky - 1, x = ox + kx - 1;
                if (y >= 0 && x >= 0 && y < w.in.height && x < w.in.width)
                  sum += in.data()[(size_t(c) * w.in.height + y) * w.in.width + x] *
                         weights.data()[((size_t(o) * w.in.channels + c) * 3 + ky) * 3 + kx];
              }
          out.data()[(size_t(o) * w.out.height + oy) * w.out.width + ox] = sum;
        }
  });
  std::printf("%-44s plain %9.4f ms %7.1f Gop/s\n", name, time, operations(w) / time / 1e6);
}

void rest() {
  const Shape shape = {24, 24, 20};
  const Window pool = window(24, 20, 20, 2, 2, 0), wide = window(48, 64, 64, 3, 2, 1);
  const auto in = floats(48 * 48 * 64), other = floats(48 * 48 * 64), scale = floats(64), shift = floats(64);
  Floats out(48 * 48 * 64);
  std::vector<uint8_t> raw(48 * 48 * 64, 100);
  line("max_pool 2x2/2 20 @24", 0, [&](const Kernels& k) { k.max_pool(pool, in.data(), out.data(), {0, 12}); });
  line("avg_pool 3x3/2 64 @48",
       0, [&](const Kernels& k) { k.avg_pool(wide, in.data(), false, out.data(), {0, wide.out.height}); });
  line("global_avg_pool 64 @8", 0, [&](const Kernels& k) { k.global_avg_pool({8, 8, 64}, in.data(), out.data()); });
  line("add 16 @32", 0, [&](const Kernels& k) {
    k.add(in.data(), other.data(), Activation::kRelu, out.data(), size_t(32) * 32 * 16);
  });
  line("affine 64 @14", 0, [&](const Kernels& k) {
    k.affine(in.data(), 14 * 14, 64, {scale.data(), shift.data(), Activation::kRelu}, out.data());
  });
  line("flatten 20 @24", 0, [&](const Kernels& k) { k.flatten(shape, in.data(), out.data()); });
  line("channel_shuffle 3x20 @56", 0, [&](const Kernels& k) {
    k.channel_shuffle(in.data(), 28 * 56, 60, 3, out.data());
  });
  Window blocks;
  blocks.in = {24, 24, 256};
  blocks.out = {48, 48, 64};
  blocks.stride_h = blocks.stride_w = 2;
  line("depth_to_space 256 @24 to 64 @48", 0, [&](const Kernels& k) {
    k.depth_to_space(blocks, sizeof(float), reinterpret_cast<const uint8_t*>(in.data()),
                     reinterpret_cast<uint8_t*>(out.data()), {0, 48});
  });
  line("channel_shuffle 8x12 @28", 0, [&](const Kernels& k) {
    k.channel_shuffle(in.data(), 28 * 28, 96, 8, out.data());
  });
  line("softmax 1000", 0, [&](const Kernels& k) { k.softmax(in.data(), out.data(), 1000); });
  line("normalise_u8 3 @96", 0, [&](const Kernels& k) {
    k.normalise_u8(raw.data(), 96 * 96, 3, scale.data(), shift.data(), out.data());
  });
  line("normalise_u8 1 @28", 0, [&](const Kernels& k) {
    k.normalise_u8(raw.data(), 28 * 28, 1, scale.data(), shift.data(), out.data());
  });
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1) wanted = arguments[1];
  const Window square = window(14, 256, 256, 3, 1, 1);
  conv2d("", square);
  binary(square);
#if defined(__x86_64__)
  for (int size : {14, 28}) popcount_share(window(size, 3584 / size, 3584 / size, 3, 1, 1));
#endif
  plain_loop(square);
  for (int c : {16, 32, 64}) binary(window(512 / c, c, c, 3, 1, 1));
  binary(window(1, 4096, 1024, 1, 1, 0));
  conv2d("resnet20", window(32, 3, 16, 3, 1, 1));
  conv2d("resnet20", window(32, 16, 16, 3, 1, 1));
  conv2d("resnet20", window(32, 16, 32, 3, 2, 1));
  conv2d("resnet20", window(16, 32, 32, 3, 1, 1));
  conv2d("resnet20", window(16, 32, 64, 3, 2, 1));
  conv2d("resnet20", window(8, 64, 64, 3, 1, 1));
  conv2d("resnet20", window(32, 16, 32, 1, 2, 0));
  conv2d("mobilenet", window(96, 3, 8, 3, 2, 1));
  for (int step = 0, size = 48, channels = 8; step < 6; ++step) {
    const int stride = step % 2 ? 2 : 1, next = stride == 2 || step == 0 ? channels * 2 : channels;
    depthwise("mobilenet", size, channels, stride);
    size /= stride;
    conv2d("mobilenet", window(size, channels, next, 1, 1, 0));
    channels = next;
  }
  depthwise("mobilenet", 6, 128, 1);
  conv2d("mobilenet", window(6, 128, 128, 1, 1, 0));
  depthwise("mobilenet", 3, 256, 1);
  conv2d("mobilenet", window(3, 256, 256, 1, 1, 0));
  depthwise("large", 112, 64, 1);
  for (int c : {53, 64, 106, 128}) depthwise("mobilenet", 14, c, 1);
  conv2d("large", window(56, 128, 128, 1, 1, 0));
  conv2d("large", window(224, 3, 64, 7, 2, 3));
  conv2d("lenet5", window(28, 1, 20, 5, 1, 0));
  conv2d("lenet5", window(12, 20, 50, 5, 1, 0));
  linear("lenet5", 800, 500);
  linear("lenet5", 500, 10);
  linear("large", 4096, 4096);
  linear_sparse(800, 500, 0.06, 32, true);
  linear_sparse(800, 500, 0.06, 32, false);
  linear_sparse(4096, 4096, 0.1, 256, true);
  hashed(784, 300, 10000);
  hashed(4096, 4096, 1);
  hashed(4096, 4096, 4096);
  hashed(4096, 4096, 4096 * 4096 / 64);
  hashed(4096, 4096, 4096 * 4096 / 8);
  for (int size : {256, 512, 1024, 4096}) linear_forms(size);
  for (int size : {4, 7, 8, 14, 16, 28, 32, 56})
    for (int c : {8, 16, 32, 64, 128, 256, 512})
      if (size * c <= 56 * 64 || size <= 14) winograd(size, c, c, 3);
  for (int c = 2; c < 16; ++c) winograd(28, c, c, 3);  // what pruning leaves of ResNet-20's channels
  for (int c : {20, 22, 24, 27}) winograd(14, c, c, 3);
  for (int c : {31, 37, 45, 54}) winograd(7, c, c, 3);
  winograd(12, 20, 50, 5);
  winograd(16, 32, 32, 5);
  winograd(28, 16, 64, 3);
  winograd(28, 3, 64, 3);
  winograd(56, 16, 64, 3);
  for (int stride : {1, 2})
    for (int size : {7, 14, 28, 56}) {
      const int c = 3584 / size;
      conv2d_sparse(window(size, c, c, 3, stride, 1));
      conv2d_sparse(window(size, c, c, 1, stride, 0));
    }
  conv2d_sparse(window(32, 16, 16, 3, 1, 1));
  conv2d_sparse(window(16, 32, 32, 3, 1, 1));
  conv2d_sparse(window(8, 64, 64, 3, 1, 1));
  conv2d_sparse(window(32, 16, 32, 3, 2, 1));
  conv2d_sparse(window(32, 3, 128, 3, 1, 1));
  conv2d_sparse(window(32, 128, 128, 3, 1, 1));
  conv2d_sparse(window(16, 128, 256, 3, 1, 1));
  conv2d_sparse(window(16, 256, 256, 3, 1, 1));
  conv2d_sparse(window(8, 512, 512, 3, 1, 1));
  conv2d_sparse(window(12, 20, 50, 5, 1, 0));
  rest();
  return 0;
}
