// The rows of the input that a band of output rows reads, with the padding written out: a copy in the scratch where
// there is padding, else the image itself. Internal linkage, as in window.h.
#pragma once
#include <string.h>

#include "../window.h"
#include "int8.h"

namespace camfit {
namespace {

// Output rows of one band: enough that neighbouring bands copy few rows twice, few enough that the copy stays in cache.
inline int band_rows(const Window& w) {
  const size_t row = size_t(w.in.width + w.pad_left + (w.kernel_w - 1) * w.dilation_w) * size_t(w.in.channels);
  const int fit = int((size_t(96) << 10) / (row * size_t(w.stride_h) + 1));
  const int rows = fit < 4 ? 4 : fit;
  return rows < w.out.height ? rows : w.out.height;
}

inline bool has_padding(const Window& w) {
  const int bottom = (w.out.height - 1) * w.stride_h - w.pad_top + (w.kernel_h - 1) * w.dilation_h - (w.in.height - 1);
  const int right = (w.out.width - 1) * w.stride_w - w.pad_left + (w.kernel_w - 1) * w.dilation_w - (w.in.width - 1);
  return w.pad_top > 0 || w.pad_left > 0 || bottom > 0 || right > 0;
}

struct Band {
  const uint8_t* origin;  // tap (0, 0) of the band's first window
  size_t row;             // bytes from one row to the next
};

inline size_t padded_width(const Window& w) {
  const size_t needed = size_t((w.out.width - 1) * w.stride_w + (w.kernel_w - 1) * w.dilation_w + 1);
  return needed;
}

inline size_t band_scratch(const Window& w) {
  if (!has_padding(w)) return 0;
  const size_t rows = size_t((band_rows(w) - 1) * w.stride_h + (w.kernel_h - 1) * w.dilation_h + 1);
  return rows * padded_width(w) * size_t(w.in.channels) + kInt8Slack;
}

inline Band make_band(const Window& w, const uint8_t* in, int zero, Range rows, uint8_t* scratch) {
  const size_t channels = size_t(w.in.channels), width = size_t(w.in.width);
  const int first = rows.begin * w.stride_h - w.pad_top;
  if (!has_padding(w)) return Band{in + size_t(first) * width * channels, width * channels};
  const int count = (rows.end - rows.begin - 1) * w.stride_h + (w.kernel_h - 1) * w.dilation_h + 1;
  const size_t padded = padded_width(w), left = size_t(w.pad_left) < padded ? size_t(w.pad_left) : padded;
  const size_t middle = padded - left < width ? padded - left : width;
  for (int r = 0; r < count; ++r) {
    uint8_t* to = scratch + size_t(r) * padded * channels;
    const int y = first + r;
    if (y < 0 || y >= w.in.height) {
      memset(to, zero, padded * channels);
      continue;
    }
    memset(to, zero, left * channels);
    memcpy(to + left * channels, in + size_t(y) * width * channels, middle * channels);
    memset(to + (left + middle) * channels, zero, (padded - left - middle) * channels);
  }
  return Band{scratch, padded * channels};
}

// A convolution of 1 x 1 taps side by side needs no rows: its pixels are one long row.
inline bool is_one_row(const Window& w) {
  return w.kernel_h == 1 && w.kernel_w == 1 && w.stride_h == 1 && w.stride_w == 1 && !has_padding(w);
}

// Calls tile(band origin, its row, first output pixel, pixels of a row, bytes between pixels) for every row of the
// output, and band by band.
template <class Row>
void for_each_row(const Window& w, const uint8_t* in, int zero, Range rows, uint8_t* scratch, const Row& row) {
  const size_t step = size_t(w.stride_w) * size_t(w.in.channels), width = size_t(w.out.width);
  if (rows.begin >= rows.end) return;
  if (is_one_row(w)) {
    row(in + size_t(rows.begin) * width * step, size_t(0), size_t(rows.begin) * width,
        int(size_t(rows.end - rows.begin) * width), step);
    return;
  }
  const int band = band_rows(w);
  for (int begin = rows.begin; begin < rows.end; begin += band) {
    const Range part = {begin, begin + band < rows.end ? begin + band : rows.end};
    const Band from = make_band(w, in, zero, part, scratch);
    for (int y = part.begin; y < part.end; ++y) {
      const uint8_t* origin = from.origin + size_t(y - part.begin) * size_t(w.stride_h) * from.row;
      row(origin, from.row, size_t(y) * width, w.out.width, step);
    }
  }
}

// Where each quad of a panel lies, in bytes from its window's first tap.
struct QuadPlaces {
  size_t row;  // from a row of taps to the next
  size_t run;  // from a run to the next
  int rows, runs, quads;
};

inline QuadPlaces quad_places(const Window& w, size_t band_row) {
  const Runs runs = runs_of(w);
  return QuadPlaces{band_row * size_t(w.dilation_h), size_t(w.dilation_w) * size_t(w.in.channels), w.kernel_h,
                    runs.of_row, runs.quads()};
}

}  // namespace
}  // namespace camfit
