#include "fuse_pool.h"

#include <algorithm>
#include <cstring>

namespace camfit {
namespace {

constexpr uint64_t kScratchAlignment = 64;

// Bytes of the convolution's output that are computed at a time, or what one row of the pool reads. With fewer, calls
// of kernels show (docs/engine.md).
constexpr size_t kBandBytes = 4096;

// The window that computes output rows `rows` alone, from the input's row `first` on.
Window window_of(const Window& whole, Range rows, int* first) {
  const int top = rows.begin * whole.stride_h - whole.pad_top;
  *first = std::max(top, 0);
  Window part = whole;
  part.in.height -= *first;
  part.pad_top = *first - top;
  part.out.height = rows.end - rows.begin;
  return part;
}

// The input's rows that a pool's output rows read.
Range rows_read(const Window& pool, Range rows) {
  const int top = rows.begin * pool.stride_h - pool.pad_top;
  const int end = (rows.end - 1) * pool.stride_h - pool.pad_top + pool.kernel_h;
  return {std::max(top, 0), std::min(end, pool.in.height)};
}

size_t row_bytes(const Shape& shape) { return size_t(shape.width) * size_t(shape.channels); }

// Rows of the pool that are computed together, and rows of the convolution that they read at most.
int pool_rows_of(const Window& pool) {
  const int more = (int(kBandBytes / row_bytes(pool.in)) - pool.kernel_h) / pool.stride_h;
  return std::min(1 + std::max(more, 0), pool.out.height);
}
int band_rows_of(const Window& pool) {
  return std::min((pool_rows_of(pool) - 1) * pool.stride_h + pool.kernel_h, pool.in.height);
}

uint64_t band_bytes(const Window& pool) {
  const uint64_t bytes = uint64_t(band_rows_of(pool)) * row_bytes(pool.in) + kInt8Slack;
  return (bytes + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
}

// Every output row reads a row of the image, so that window_of leaves one. Of pools that holds for every file.
bool rows_touch_image(const Window& w) {
  const int reach = (w.kernel_h - 1) * w.dilation_h;
  return w.pad_top <= reach && (w.out.height - 1) * w.stride_h - w.pad_top < w.in.height;
}

void convolve(const Step& step, const Int8Kernels& kernels, const uint8_t* in, Range rows, uint8_t* out,
              uint8_t* scratch) {
  int first;
  const Window part = window_of(step.window, rows, &first);
  const HeldInt8& held = step.weights.int8;
  const Range all = {0, part.out.height};
  in += size_t(first) * row_bytes(part.in);
  if (step.work == Work::kInt8Depthwise) {
    kernels.depthwise(part, in, step.level.zero, held.pairs, held.to, out, all, scratch);
  } else {
    const Range panels = {0, int8_panel_count(part)};
    kernels.conv2d(part, in, step.level.zero, held.panels, held.to, out, all, panels, scratch);
  }
}

}  // namespace

bool can_fuse(const Layer& conv, const Layer& pool, int threads) {
  if (conv.op != Op::kInt8Conv2d || !conv.out_level.bytes()) return false;
  if (pool.op != Op::kMaxPool && pool.op != Op::kAvgPool) return false;
  // Threads share rows of the pool: with few of them, some would wait.
  if (threads > 1 && pool.out.height < 2 * threads) return false;
  return pool.window.kernel_h < conv.out.height && pool.out.height > 1 && rows_touch_image(conv.window);
}

FusedPool fused_pool(const Layer& pool) {
  const auto kind = pool.op == Op::kMaxPool ? FusedPool::kMax : FusedPool::kAverage;
  return FusedPool{kind, pool.count_include_pad, pool.in_level.zero, pool.window};
}

uint64_t fused_scratch(const Step& step, const Int8Kernels& kernels) {
  const Window& w = step.window;
  const int most = band_rows_of(step.pool.window);
  uint64_t bytes = 0;
  for (int row = 0; row < w.out.height; ++row) {
    int first;
    const Window part = window_of(w, {row, std::min(row + most, w.out.height)}, &first);
    bytes = std::max<uint64_t>(bytes, kernels.conv2d_scratch(part));
  }
  return band_bytes(step.pool.window) + bytes;
}

void run_fused(const Step& step, const Int8Kernels& kernels, const uint8_t* in, uint8_t* out, Range rows,
               uint8_t* scratch) {
  const FusedPool& pool = step.pool;
  const size_t of_row = row_bytes(pool.window.in);
  uint8_t* band = scratch;
  uint8_t* rest = scratch + band_bytes(pool.window);
  Range held = {0, 0};  // rows of the convolution in the band
  const int together = pool_rows_of(pool.window);
  for (int y = rows.begin; y < rows.end; y += together) {
    const Range part = {y, std::min(y + together, rows.end)};
    const Range wanted = rows_read(pool.window, part);
    const int kept = std::max(held.end - wanted.begin, 0);  // windows that overlap read rows twice
    if (kept) std::memmove(band, band + size_t(wanted.begin - held.begin) * of_row, size_t(kept) * of_row);
    const Range missing = {wanted.begin + kept, wanted.end};
    if (missing.begin < missing.end) convolve(step, kernels, in, missing, band + size_t(kept) * of_row, rest);
    held = wanted;
    int first;
    const Window window = window_of(pool.window, part, &first);
    const Range all = {0, window.out.height};
    uint8_t* to = out + size_t(y) * row_bytes(window.out);
    if (pool.kind == FusedPool::kMax) {
      kernels.max_pool(window, band, to, all);
    } else {
      kernels.avg_pool(window, band, pool.zero, pool.count_include_pad, to, all);
    }
  }
}

}  // namespace camfit
