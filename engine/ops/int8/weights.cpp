// Weights and multipliers of integer layers, as the kernels want them.
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "../window.h"
#include "int8.h"

namespace camfit {

Runs runs_of(const Window& window) {
  const int cin = window.in.channels / window.groups;
  if (window.groups == 1 && window.dilation_w == 1) return Runs{1, window.kernel_w * cin};
  return Runs{window.kernel_w, cin};
}

void int8_panels(const Window& window, const int8_t* weights, int8_t* values) {
  const Runs runs = runs_of(window);
  const int cin = window.in.channels / window.groups, taps = window.kernel_h * window.kernel_w;
  const int panels = int8_panel_count(window);
  const size_t quads = size_t(quads_of(window)), panel_bytes = quads * kPanel * kQuad;
  std::memset(values, 0, panel_bytes * size_t(panels));
  for (int p = 0; p < panels; ++p, values += panel_bytes) {
    const PanelPlace place = panel_place(window.out.channels, window.groups, p);
    for (int lane = 0; lane < place.count; ++lane) {
      const int8_t* row = weights + size_t(place.first + lane) * size_t(cin) * size_t(taps);
      int8_t* to = values + lane * kQuad;
      for (int run = 0; run < window.kernel_h * runs.of_row; ++run, row += runs.bytes) {
        for (int k = 0; k < runs.bytes; k += kQuad, to += kPanel * kQuad) {
          std::memcpy(to, row + k, k + kQuad <= runs.bytes ? size_t(kQuad) : size_t(runs.bytes - k));
        }
      }
    }
  }
}

// Makes the weights of one sign among `count` safe and puts what is taken off into `taken`. The last give first, so that
// few quads need an extra; none gives more than half of what is safe, so that one extra is enough for a quad, unless all
// must.
static void take_off(int sign, int count, int8_t* const* weights, int8_t* const* taken) {
  int over = -kSafe;
  for (int i = 0; i < count; ++i) over += *weights[i] * sign > 0 ? *weights[i] * sign : 0;
  for (const int most : {kSafe / 2, kSafe}) {
    for (int i = count - 1; i >= 0 && over > 0; --i) {
      int off = *weights[i] * sign < over ? *weights[i] * sign : over;
      if (off > most) off = most;
      if (off <= 0) continue;
      *weights[i] = int8_t(*weights[i] - off * sign);
      *taken[i] = int8_t(*taken[i] + off * sign);
      over -= off;
    }
  }
}

// Moves into `part` as much of what was taken off a quad as is safe in whatever pairs it stands. Returns whether there was
// any.
static bool safe_part(int8_t* taken, int8_t* part) {
  bool any = false;
  for (int i = 0; i < kPanel * kQuad; ++i) {
    const int most = kSafe / 2, w = taken[i];
    part[i] = int8_t(w > most ? most : w < -most ? -most : w);
    taken[i] = int8_t(w - part[i]);
    any = any || part[i] != 0;
  }
  return any;
}

uint32_t int8_extras(const Window& window, int together, int8_t* values, uint32_t* begin, uint32_t* quad, int8_t* extra) {
  constexpr int kBytes = kPanel * kQuad, kMost = 2;
  const int panels = int8_panel_count(window), quads = quads_of(window), run = runs_of(window).quads();
  uint32_t count = 0;
  for (int p = 0; p < panels; ++p) {
    if (begin) begin[p] = count;
    for (int q = 0; q < quads;) {
      const int left = run - q % run, joined = together < left ? together : left;
      int8_t safe[kMost * kBytes], taken[kMost * kBytes] = {};
      std::memcpy(safe, values, size_t(joined) * kBytes);
      for (int i = 0; i < kBytes; i += 2) {
        int8_t *weights[2 * kMost], *off[2 * kMost];
        for (int j = 0; j < 2 * joined; ++j) {
          weights[j] = safe + j / 2 * kBytes + i + j % 2;
          off[j] = taken + j / 2 * kBytes + i + j % 2;
        }
        take_off(1, 2 * joined, weights, off);
        take_off(-1, 2 * joined, weights, off);
      }
      for (int j = 0; j < joined; ++j) {
        int8_t part[kBytes];
        while (safe_part(taken + j * kBytes, part)) {
          if (extra) {
            quad[count] = uint32_t(q + j);
            std::memcpy(extra + size_t(count) * kBytes, part, kBytes);
          }
          ++count;
        }
      }
      if (extra) std::memcpy(values, safe, size_t(joined) * kBytes);
      values += joined * kBytes;
      q += joined;
    }
  }
  if (begin) begin[panels] = count;
  return count;
}

int int8_together(const Window& window, int8_t* values) {
  const double quads = double(int8_panel_count(window)) * double(quads_of(window));
  const double apart = int8_extras(window, 1, values, nullptr, nullptr, nullptr);
  const double joined = int8_extras(window, 2, values, nullptr, nullptr, nullptr);
  // Quads by twos save a quarter of the products' time; an extra costs more than a quad, for it has to be found.
  return (joined - apart) * 1.5 < 0.25 * quads ? 2 : 1;
}

static bool is_depthwise(const Window& w) { return w.groups > 1 && w.groups == w.in.channels && w.groups == w.out.channels; }

size_t int8_pairs_size(const Window& window) {
  const size_t padded = size_t(ceil_div(window.in.channels, kPanel)) * kPanel;
  return size_t(window.kernel_w) * size_t(ceil_div(window.kernel_h, 2)) * padded * 2;
}

void int8_pairs(const Window& window, const int8_t* weights, int16_t* pairs) {
  const size_t padded = size_t(ceil_div(window.in.channels, kPanel)) * kPanel;
  const int of_column = ceil_div(window.kernel_h, 2);
  std::memset(pairs, 0, int8_pairs_size(window) * sizeof *pairs);
  for (int c = 0; c < window.in.channels; ++c) {
    for (int ky = 0; ky < window.kernel_h; ++ky) {
      for (int kx = 0; kx < window.kernel_w; ++kx)
        pairs[(size_t(kx * of_column + ky / 2) * padded + size_t(c)) * 2 + size_t(ky % 2)] = *weights++;
    }
  }
}

int int8_block_count(const Window& window) {
  return is_depthwise(window) ? ceil_div(window.out.channels, kPanel) : int8_panel_count(window);
}

void int8_blocks(const Window& window, const Requantize& to, RequantizeBlock* blocks) {
  const int count = int8_block_count(window), groups = is_depthwise(window) ? 1 : window.groups;
  for (int p = 0; p < count; ++p) {
    const PanelPlace place = panel_place(window.out.channels, groups, p);
    blocks[p].high = true;
    for (int lane = 0; lane < kPanel; ++lane) {
      const bool real = lane < place.count;
      const int64_t multiplier = real ? to.multiplier[place.first + lane] : 0;
      const int shift = real ? to.shift[place.first + lane] : kHighShift;
      constexpr int64_t kLift = int64_t(1) << 62;
      const int high_shift = shift < kHighShift ? 1 : shift - 32;
      blocks[p].high = blocks[p].high && shift >= kHighShift;
      blocks[p].half[lane] = int32_t(1) << (high_shift - 1);
      blocks[p].high_shift[lane] = high_shift;
      blocks[p].add[lane % 2][lane / 2] = (int64_t(1) << (shift - 1)) + kLift;
      blocks[p].multiplier[lane % 2][lane / 2] = multiplier;
      blocks[p].shift[lane % 2][lane / 2] = shift;
      blocks[p].less[lane] = int32_t(uint32_t(kLift >> shift) - uint32_t(to.zero));
    }
  }
}

bool int8_multiplier(double ratio, int32_t* multiplier, int32_t* shift) {
  int exponent = 0;
  const double mantissa = std::frexp(ratio, &exponent);  // ratio = mantissa * 2^exponent, mantissa in [0.5, 1)
  int64_t rounded = int64_t(std::floor(std::ldexp(mantissa, 31) + 0.5));
  if (rounded == int64_t(1) << 31) {
    rounded >>= 1;
    ++exponent;
  }
  *multiplier = int32_t(rounded);
  *shift = 31 - exponent;
  if (*shift > 62) {
    *multiplier = 0;
    *shift = 62;
  }
  return *shift >= 1;
}

}  // namespace camfit
