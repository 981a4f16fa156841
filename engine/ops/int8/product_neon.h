// Integer convolution and linear layer over products of signed bytes, for which NEON has more than for mixed ones:
// bytes q are taken as q - 128, and what that leaves out, 128 times the sum of the weights, is added at the end
// (`lift`). The includer gives the products, a class with
//   kPixels, Sums                            at a time; the sums of one pixel and panel, before finish
//   add(sums, quad, weights)                 one quad of bytes
//   add_two(sums, quads, weights)            two quads, one after the other
//   finish(sums, lift, out)                  to four vectors
#pragma once
#include "padded.h"
#include "vectors_neon.h"

namespace camfit {
namespace {

constexpr int kPanelBytes = kPanel * kQuad;  // of one quad
constexpr int kLifts = 64;                   // panels whose lifts are held at a time

inline int8x8_t recentre(uint8x8_t bytes) { return vreinterpret_s8_u8(veor_u8(bytes, vdup_n_u8(128))); }
inline int8x8_t load_two(const uint8_t* at) { return recentre(vld1_u8(at)); }
inline int8x8_t load_one(const uint8_t* at) {
  uint32_t quad;
  memcpy(&quad, at, sizeof quad);
  return recentre(vcreate_u8(quad));
}

// The sums of the weights of one panel's quads are added to `sums`.
inline void add_weights(int32x4_t* sums, const int8_t* weights, size_t quads) {
  for (size_t q = 0; q < quads; ++q, weights += kPanelBytes)
    for (int i = 0; i < 4; ++i) sums[i] = vpadalq_s16(sums[i], vpaddlq_s8(vld1q_s8(weights + 16 * i)));
}

struct Lift {
  int32x4_t of[4];  // of four channels each
};
inline Lift lift_of(const int32x4_t* sums) {
  Lift lift;
  for (int i = 0; i < 4; ++i) lift.of[i] = vshlq_n_s32(sums[i], 7);
  return lift;
}

// `count` pixels, `step` bytes apart, against one panel.
template <class Product, int count>
void convolve(const uint8_t* origin, size_t step, const QuadPlaces& places, const int8_t* weights, const Lift& lift,
              const Target& target, const PanelPlace& place, size_t pixel) {
  typename Product::Sums sums[count] = {};
  for (int y = 0; y < places.rows; ++y) {
    for (int run = 0; run < places.runs; ++run) {
      const uint8_t* x = origin + size_t(y) * places.row + size_t(run) * places.run;
      int q = 0;
      for (; q + 2 <= places.quads; q += 2, x += 2 * kQuad, weights += 2 * kPanelBytes) {
        int8x8_t quads[count];
        for (int i = 0; i < count; ++i) quads[i] = load_two(x + size_t(i) * step);
        Product::template add_two<count>(sums, quads, weights);
      }
      if (q == places.quads) continue;
      int8x8_t quads[count];
      for (int i = 0; i < count; ++i) quads[i] = load_one(x + size_t(i) * step);
      Product::template add<count>(sums, quads, weights);
      weights += kPanelBytes;
    }
  }
  for (int i = 0; i < count; ++i) {
    int32x4_t all[4];
    Product::finish(sums[i], lift, all);
    store16(target, all, size_t(place.first), place.count, pixel + size_t(i));
  }
}

// The fewer than kPixels pixels that end a row.
template <class Product, int count>
void convolve_rest(int left, const uint8_t* origin, size_t step, const QuadPlaces& places, const int8_t* weights,
                   const Lift& lift, const Target& target, const PanelPlace& place, size_t pixel) {
  if constexpr (count > 0) {
    if (left == count) return convolve<Product, count>(origin, step, places, weights, lift, target, place, pixel);
    convolve_rest<Product, count - 1>(left, origin, step, places, weights, lift, target, place, pixel);
  }
}

template <class Product>
void int8_conv2d(const Window& w, const uint8_t* in, int zero, const Int8Panels& panels, const Requantize& to,
                 void* out, Range rows, Range range, uint8_t* scratch) {
  constexpr int kPixels = Product::kPixels;
  const size_t panel_bytes = size_t(quads_of(w)) * kPanelBytes, cin = size_t(w.in.channels / w.groups);
  const Target target = {to, out, size_t(w.out.channels)};
  for (int begin = range.begin; begin < range.end; begin += kLifts) {
    const int end = begin + kLifts < range.end ? begin + kLifts : range.end;
    Lift lifts[kLifts];
    for (int p = begin; p < end; ++p) {
      int32x4_t sums[4] = {};
      add_weights(sums, panels.values + size_t(p) * panel_bytes, size_t(quads_of(w)));
      lifts[p - begin] = lift_of(sums);
    }
    const auto row = [&](const uint8_t* first, size_t band_row, size_t pixel, int count, size_t step) {
      const QuadPlaces places = quad_places(w, band_row);
      for (int p = begin; p < end; ++p) {
        const PanelPlace place = panel_place(w.out.channels, w.groups, p);
        const int8_t* weights = panels.values + size_t(p) * panel_bytes;
        const Lift& lift = lifts[p - begin];
        const uint8_t* origin = first + size_t(place.group) * cin;
        int x = 0;
        for (; x + kPixels <= count; x += kPixels, origin += size_t(kPixels) * step)
          convolve<Product, kPixels>(origin, step, places, weights, lift, target, place, pixel + size_t(x));
        convolve_rest<Product, kPixels - 1>(count - x, origin, step, places, weights, lift, target, place,
                                            pixel + size_t(x));
      }
    };
    for_each_row(w, in, zero, rows, scratch, row);
  }
}

// The sums of the weights are taken as they pass.
template <class Product>
void int8_linear(int cin, int cout, const uint8_t* in, const Int8Panels& panels, const Requantize& to, void* out,
                 Range range) {
  const size_t quads = size_t(ceil_div(cin, kQuad));
  const Target target = {to, out, size_t(cout)};
  for (int p = range.begin; p < range.end; ++p) {
    typename Product::Sums sums[1] = {};
    int32x4_t of_weights[4] = {}, all[4];
    const int8_t* weights = panels.values + size_t(p) * quads * kPanelBytes;
    size_t q = 0;
    for (; q + 2 <= quads; q += 2, weights += 2 * kPanelBytes) {
      const int8x8_t two[1] = {load_two(in + q * kQuad)};
      Product::template add_two<1>(sums, two, weights);
      add_weights(of_weights, weights, 2);
    }
    if (q < quads) {
      const int8x8_t one[1] = {load_one(in + q * kQuad)};
      Product::template add<1>(sums, one, weights);
      add_weights(of_weights, weights, 1);
    }
    Product::finish(sums[0], lift_of(of_weights), all);
    const PanelPlace place = panel_place(cout, 1, p);
    store16(target, all, size_t(place.first), place.count, 0);
  }
}

}  // namespace
}  // namespace camfit
