// Integer kernels. Activations are bytes q that stand for scale * (q - zero), height x width x channels as everywhere;
// weights are integers of -127..127 with a scale per output channel. Sums are exact in 32 bits, and so every set, on
// every processor, gives the same bytes. Jacob et al., Quantization and Training of Neural Networks for Efficient
// Integer-Arithmetic-Only Inference, CVPR 2018.
#pragma once
#include "../kernels.h"

namespace camfit {

// What a value of bytes stands for. scale 0: the value is not bytes but float32.
struct Quantization {
  float scale = 0.0f;
  int zero = 0;
  bool bytes() const { return scale != 0.0f; }
};

// A convolution reads its taps in runs of neighbouring bytes, each padded with zero weights to whole quads of 4 bytes:
// a kernel's row is one run where nothing lies between its taps, else every tap is one. Kernels read up to 3 bytes past
// a run: whoever owns a buffer of activations keeps kInt8Slack bytes readable behind it.
constexpr int kQuad = 4;
constexpr int kInt8Slack = 64;
struct Runs {
  int of_row;  // runs of one row of the kernel
  int bytes;   // of one run
  int quads() const { return (bytes + kQuad - 1) / kQuad; }
};
Runs runs_of(const Window& window);
inline int quads_of(const Window& window) {
  const Runs runs = runs_of(window);
  return window.kernel_h * runs.of_row * runs.quads();
}

inline int int8_panel_count(const Window& window) {
  return window.groups * ((window.out.channels / window.groups + kPanel - 1) / kPanel);
}

// Weights in panels of kPanel output channels (kernels.h): [panels][quads][kPanel][kQuad].
//
// A set whose products of two neighbouring bytes are added in 16 bits (AVX2's VPMADDUBSW) would saturate where both
// weights of a pair are large: 255 * (w0 + w1) must stay within int16. There, a pair is reduced to a safe one, and what
// was taken away stands in an extra quad of the same place, which is multiplied as well. So sums are exact with all of
// the weights' 8 bits, and weights of 7 bits never need extras.
//
// With `together` = 2, the pairs of two neighbouring quads of a run may be added in 16 bits too: the positive ones of their
// four weights are safe together, and so are the negative ones. A last quad of an odd number is alone.
struct Int8Panels {
  const int8_t* values;
  int together;                 // 1 or 2
  const uint32_t* extra_begin;  // [panels + 1], null where the set needs no extras; indices into the next two
  const uint32_t* extra_quad;   // which quad of its panel
  const int8_t* extra;          // [extras][kPanel][kQuad]
};
constexpr int kSafe = 128;  // what weights of one sign may add up to: 255 * 128 = 32,640, 255 * -128 = -32,640

// From sums to outputs, per output channel c:
//   bytes: clamp(zero + ((sum + bias[c]) * multiplier[c] + 2^(shift[c]-1) >> shift[c]), low, high), shift 1..62
//   floats (multiplier null): activation(float(sum + bias[c]) * scale[c])
// The arrays are filled up with kPanel values. sum + bias fits 32 bits, whatever the input, and |sum + bias| *
// multiplier / 2^shift is below 2^30.
// `blocks` says the same for vectors: a block of each panel (of a depthwise convolution: of each kPanel channels).
//
// Where all shifts are kHighShift or more, 2^(shift-1) is a multiple of 2^32, and so the low half of the product does not
// matter: the result is (high half of the product + half) >> high_shift, with half = 2^(high_shift-1), in 32 bits. None
// overflows: the product is below 2^62, its high half below 2^30, and half at most 2^29. Ratios below 1/4 are such.
//
// Else the shift is one of 64 bits. There is no arithmetic one in AVX2. So with 2^62 in `add`, beside the half, it is a
// logical one, and `less` is what it leaves of that 2^62 (less the zero point), of which the low 32 bits are enough.
constexpr int kHighShift = 33;
struct RequantizeBlock {
  int64_t multiplier[2][kPanel / 2];  // of the even, then of the odd channels, as the next two
  int64_t add[2][kPanel / 2];
  int64_t shift[2][kPanel / 2];
  int32_t less[kPanel];
  int32_t half[kPanel], high_shift[kPanel];  // where `high`
  bool high;
};
struct Requantize {
  const int32_t* bias;
  const int32_t* multiplier;
  const int32_t* shift;
  const float* scale;
  int zero, low, high;
  Activation activation;
  const RequantizeBlock* blocks;
};

// clamp(zero + (((a - a_zero) * a_multiplier + (b - b_zero) * b_multiplier + 2^(shift-1)) >> shift), low, high)
struct Int8Sum {
  int a_zero, b_zero, a_multiplier, b_multiplier, shift, zero, low, high;
};

struct Int8Kernels {
  bool extras;  // the set wants Int8Panels with extras

  // q = clamp(floor(x * inverse + 0.5) + zero, 0, 255); a NaN gives 0.
  void (*quantize)(const float* in, size_t count, float inverse, int zero, uint8_t* out);
  void (*dequantize)(const uint8_t* in, size_t count, const Quantization&, float* out);

  // As Kernels::conv2d; pixels outside the image count as `zero` (which the bias takes off again). `out`: bytes or
  // floats as Requantize says. Scratch, also of the next: conv2d_scratch bytes.
  size_t (*conv2d_scratch)(const Window&);
  void (*conv2d)(const Window&, const uint8_t* in, int zero, const Int8Panels&, const Requantize&, void* out, Range rows,
                 Range panels, uint8_t* scratch);
  // groups == cin == cout. Weights in pairs of taps, one above the other, in which the last of an odd number has none:
  // [kernel_w][(kernel_h + 1) / 2][channels up to whole kPanel][2].
  void (*depthwise)(const Window&, const uint8_t* in, int zero, const int16_t* weights, const Requantize&, void* out,
                    Range rows, uint8_t* scratch);
  void (*linear)(int cin, int cout, const uint8_t* in, const Int8Panels&, const Requantize&, void* out, Range panels);

  void (*add)(const uint8_t* a, const uint8_t* b, const Int8Sum&, uint8_t* out, size_t count);
  void (*max_pool)(const Window&, const uint8_t* in, uint8_t* out, Range rows);
  // floor((2 * sum + count) / (2 * count)): count is the kernel's with padding as `zero`, or that of the real pixels.
  void (*avg_pool)(const Window&, const uint8_t* in, int zero, bool count_include_pad, uint8_t* out, Range rows);
  // One multiplier and shift for all channels: *requantize.multiplier; its bias is -zero * pixels.
  void (*global_avg_pool)(const Shape&, const uint8_t* in, const Requantize&, uint8_t* out);
  void (*clamp)(const uint8_t* in, int low, int high, uint8_t* out, size_t count);
  void (*flatten)(const Shape&, const uint8_t* in, uint8_t* out);
  void (*channel_shuffle)(const uint8_t* in, int pixels, int channels, int groups, uint8_t* out);
};

namespace plain {
extern const Int8Kernels int8_kernels;
}
namespace avx2 {
extern const Int8Kernels int8_kernels;  // where compiled for AVX2
}
namespace avx512 {
extern const Int8Kernels int8_kernels;  // where compiled for AVX-512, for processors that have its VNNI
}
namespace neon {
extern const Int8Kernels int8_kernels;      // where compiled for 64-bit ARM
extern const Int8Kernels int8_dot_kernels;  // for processors that have the dot-product extension
}

// ---- Weights and multipliers, prepared at load

// Integers [cout][kernel_h][kernel_w][cin / groups] to panels: quads_of(window) * kPanel * kQuad bytes each.
void int8_panels(const Window& window, const int8_t* weights, int8_t* values);
// 1 or 2, the faster for these weights in panels: see Int8Panels.
int int8_together(const Window& window, int8_t* values);
// Makes the weights that are added in 16 bits safe, in place. Returns how many extras that takes; with the last three null
// it only counts.
uint32_t int8_extras(const Window& window, int together, int8_t* values, uint32_t* begin, uint32_t* quad, int8_t* extra);
// Depthwise weights [channels][kernel_h][kernel_w] to pairs of taps, int8_pairs_size of them.
size_t int8_pairs_size(const Window& window);
void int8_pairs(const Window& window, const int8_t* weights, int16_t* pairs);
// The blocks of all panels, int8_block_count of them; `to` holds bias, multiplier, shift and zero.
int int8_block_count(const Window& window);
void int8_blocks(const Window& window, const Requantize& to, RequantizeBlock* blocks);

// ratio as multiplier / 2^shift: 31 bits, rounded half up. A ratio below 2^-31 becomes 0; false above 2^30.
bool int8_multiplier(double ratio, int32_t* multiplier, int32_t* shift);

}  // namespace camfit
