// Runs prepared steps. Nothing here allocates.
#include <time.h>

#include <cstring>

#include "engine.h"
#include "fuse_pool.h"
#include "winograd/winograd.h"

namespace camfit {
namespace {

struct Job {
  const camfit_engine& engine;
  const Step& step;
};

// Fills each panel of the range and calls a dense kernel on it.
template <class Kernel>
void with_expanded_panels(const Job& job, Range panels, float* scratch, const Kernel& kernel) {
  const MatrixSource& source = job.step.weights.source;
  for (int p = panels.begin; p < panels.end; ++p) {
    fill_panel(source, *job.engine.kernels, p, scratch);
    kernel(Range{p, p + 1}, scratch + panel_floats(source));
  }
}

void copy_channels(const Step& step, const uint8_t* in, uint8_t* out, Range pixels) {
  const size_t element = size_t(step.element), first = size_t(step.first_channel) * element;
  const size_t from = size_t(step.window.in.channels) * element, to = size_t(step.window.out.channels) * element;
  for (int pixel = pixels.begin; pixel < pixels.end; ++pixel) {
    std::memcpy(out + size_t(pixel) * to + first, in + size_t(pixel) * from, from);
  }
}

void slice_channels(const Step& step, const uint8_t* in, uint8_t* out, Range pixels) {
  const size_t element = size_t(step.element), first = size_t(step.first_channel) * element;
  const size_t from = size_t(step.window.in.channels) * element, to = size_t(step.window.out.channels) * element;
  for (int pixel = pixels.begin; pixel < pixels.end; ++pixel) {
    std::memcpy(out + size_t(pixel) * to, in + size_t(pixel) * from + first, to);
  }
}

// The integer kernels, and those between integers and floats. Elements are counted from `rows.begin`.
void run_int8(const Job& job, Range rows, Range columns, uint8_t* scratch) {
  const Step& step = job.step;
  const Window& window = step.window;
  const HeldInt8& held = step.weights.int8;
  const Int8Kernels& kernels = *job.engine.kernels->int8;
  const size_t first = size_t(rows.begin), count = size_t(rows.end - rows.begin);
  const uint8_t* in = job.engine.arena + step.in;
  const uint8_t* other = job.engine.arena + step.other;
  uint8_t* out = job.engine.arena + step.out;
  if (step.pool.kind != FusedPool::kNone) return run_fused(step, kernels, in, out, rows, scratch);
  switch (step.work) {
    case Work::kQuantize:
      kernels.quantize(reinterpret_cast<const float*>(in) + first, count, 1.0f / step.level.scale, step.level.zero,
                       out + first);
      break;
    case Work::kDequantize:
      kernels.dequantize(in + first, count, step.level, reinterpret_cast<float*>(out) + first);
      break;
    case Work::kInt8Conv:
      kernels.conv2d(window, in, step.level.zero, held.panels, held.to, out, rows, columns, scratch);
      break;
    case Work::kInt8Depthwise:
      kernels.depthwise(window, in, step.level.zero, held.pairs, held.to, out, rows, scratch);
      break;
    case Work::kInt8Linear:
      kernels.linear(window.in.channels, window.out.channels, in, held.panels, held.to, out, columns);
      break;
    case Work::kInt8Add: kernels.add(in + first, other + first, held.sum, out + first, count); break;
    case Work::kInt8MaxPool: kernels.max_pool(window, in, out, rows); break;
    case Work::kInt8AvgPool: kernels.avg_pool(window, in, step.level.zero, step.count_include_pad, out, rows); break;
    case Work::kInt8GlobalAvgPool: kernels.global_avg_pool(window.in, in, held.to, out); break;
    case Work::kInt8Clamp: kernels.clamp(in + first, held.to.low, held.to.high, out + first, count); break;
    case Work::kInt8Flatten: kernels.flatten(window.in, in, out); break;
    case Work::kInt8Shuffle: {
      const size_t channels = size_t(window.in.channels);
      kernels.channel_shuffle(in + first * channels, int(count), int(channels), window.groups, out + first * channels);
      break;
    }
    default: break;
  }
}

void run_part(const void* argument, int part, int thread) {
  const Job& job = *static_cast<const Job*>(argument);
  const camfit_engine& engine = job.engine;
  const Kernels& kernels = *engine.kernels;
  const Step& step = job.step;
  const Window& window = step.window;
  const HeldWeights& weights = step.weights;
  const Epilogue& epilogue = weights.epilogue;
  const Range rows = step.rows.part(part / step.columns.parts), columns = step.columns.part(part % step.columns.parts);
  const float* in = reinterpret_cast<const float*>(engine.arena + step.in);
  float* other = reinterpret_cast<float*>(engine.arena + step.other);
  float* out = reinterpret_cast<float*>(engine.arena + step.out);
  float* scratch = engine.scratch + engine.scratch_floats * uint64_t(thread);

  switch (step.work) {
    case Work::kConv: {
      const float* panels = weights.floats + panel_floats(weights.source) * size_t(columns.begin);
      kernels.conv2d(window, in, panels, epilogue, out, rows, columns, scratch);
      break;
    }
    case Work::kConvExpand:
      with_expanded_panels(job, columns, scratch, [&](Range panel, float* rest) {
        kernels.conv2d(window, in, scratch, epilogue, out, rows, panel, rest);
      });
      break;
    case Work::kWinograd: {
      const int tile = weights.tile;
      const float* panels = weights.floats + winograd_panel_floats(window, tile) * size_t(columns.begin);
      kernels.winograd(window, tile, in, panels, epilogue, out, rows, columns, scratch);
      break;
    }
    case Work::kConvSparse:
      kernels.conv2d_sparse(window, in, weights.taps, epilogue, out, rows, columns, scratch);
      break;
    case Work::kConvColumns:
      kernels.conv2d_columns(window, in, weights.columns, epilogue, out, rows, columns, scratch);
      break;
    case Work::kWinogradPairs:
      kernels.winograd_pairs(window, in, weights.pairs, epilogue, out, rows, columns, scratch);
      break;
    case Work::kDepthwise: kernels.depthwise(window, in, weights.floats, epilogue, out, rows); break;
    case Work::kLinear: {
      const float* panels = weights.floats + panel_floats(weights.source) * size_t(columns.begin);
      kernels.linear(window.in.channels, window.out.channels, in, panels, epilogue, out, columns);
      break;
    }
    case Work::kLinearExpand:
      with_expanded_panels(job, columns, scratch, [&](Range panel, float*) {
        kernels.linear(window.in.channels, window.out.channels, in, scratch, epilogue, out, panel);
      });
      break;
    case Work::kLinearCodebook: kernels.linear_sparse(weights.source.sparse, in, epilogue, out, columns); break;
    case Work::kLinearSparse: {
      const SparseRows& stored = weights.source.sparse;
      const SparseRows values = {stored.row_begin, stored.column, stored.column16, nullptr, weights.source.values};
      kernels.linear_sparse(values, in, epilogue, out, columns);
      break;
    }
    case Work::kLinearRows: kernels.linear_sparse(weights.linear.rows, in, epilogue, out, columns); break;
    case Work::kLinearChunks: kernels.linear_chunks(weights.linear.chunks, in, epilogue, out, columns); break;
    case Work::kLinearBlocks: kernels.linear_blocks(weights.linear.blocks, in, epilogue, out, columns); break;
    case Work::kLinearTiles: kernels.linear_tiles(weights.linear.tiles, in, epilogue, out, columns); break;
    case Work::kLinearHashed: kernels.linear_hashed(weights.source.hashed, in, epilogue, out, columns); break;
    case Work::kPackSigns: {
      const size_t channels = size_t(window.in.channels), first = size_t(rows.begin);
      uint64_t* words = reinterpret_cast<uint64_t*>(out) + first * ((channels + 63) / 64);
      float* mean = step.other == step.out ? nullptr : other + first;
      kernels.pack_signs(in + first * channels, rows.end - rows.begin, window.in.channels, words, mean);
      break;
    }
    case Work::kBoxFilter: kernels.box_filter(window, in, out, rows); break;
    case Work::kBinaryConv:
      kernels.binary_conv2d(window, reinterpret_cast<const uint64_t*>(in), weights.words,
                            step.other == step.in ? nullptr : other, epilogue, out, rows, columns);
      break;
    case Work::kMaxPool: kernels.max_pool(window, in, out, rows); break;
    case Work::kAvgPool: kernels.avg_pool(window, in, step.count_include_pad, out, rows); break;
    case Work::kGlobalAvgPool: kernels.global_avg_pool(window.in, in, out); break;
    case Work::kAdd:
      kernels.add(in + rows.begin, other + rows.begin, epilogue.activation, out + rows.begin,
                  size_t(rows.end - rows.begin));
      break;
    case Work::kCopyChannels: copy_channels(step, engine.arena + step.in, engine.arena + step.out, rows); break;
    case Work::kSlice: slice_channels(step, engine.arena + step.in, engine.arena + step.out, rows); break;
    case Work::kDepthToSpace:
      kernels.depth_to_space(window, size_t(step.element), engine.arena + step.in, engine.arena + step.out, rows);
      break;
    case Work::kActivation:
      kernels.activation(in + rows.begin, epilogue.activation, out + rows.begin, size_t(rows.end - rows.begin));
      break;
    case Work::kAffine: {
      const size_t first = size_t(rows.begin) * size_t(window.in.channels);
      kernels.affine(in + first, rows.end - rows.begin, window.in.channels, epilogue, out + first);
      break;
    }
    case Work::kFlatten: kernels.flatten(window.in, in, out); break;
    case Work::kSoftmax: kernels.softmax(in, out, window.in.channels); break;
    case Work::kChannelShuffle: {
      const size_t first = size_t(rows.begin) * size_t(window.in.channels);
      kernels.channel_shuffle(in + first, rows.end - rows.begin, window.in.channels, window.groups, out + first);
      break;
    }
    case Work::kQuantize:
    case Work::kDequantize:
    case Work::kInt8Conv:
    case Work::kInt8Depthwise:
    case Work::kInt8Linear:
    case Work::kInt8Add:
    case Work::kInt8MaxPool:
    case Work::kInt8AvgPool:
    case Work::kInt8GlobalAvgPool:
    case Work::kInt8Clamp:
    case Work::kInt8Flatten:
    case Work::kInt8Shuffle: run_int8(job, rows, columns, reinterpret_cast<uint8_t*>(scratch)); break;
  }
}

uint64_t now_in_nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
}

}  // namespace

uint64_t step_scratch(const Step& step, const Kernels& kernels) {
  const uint64_t panel = step.weights.held == Held::kExpand ? panel_floats(step.weights.source) : 0;
  if (step.work == Work::kInt8Conv || step.work == Work::kInt8Depthwise) {
    const bool fused = step.pool.kind != FusedPool::kNone;
    const uint64_t bytes = fused ? fused_scratch(step, *kernels.int8) : kernels.int8->conv2d_scratch(step.window);
    return (bytes + sizeof(float) - 1) / sizeof(float);
  }
  if (step.work == Work::kWinograd) return kernels.winograd_scratch(step.window, step.weights.tile);
  if (step.work == Work::kConvSparse) return kernels.conv2d_sparse_scratch(step.window);
  if (step.work == Work::kConvColumns) return kernels.conv2d_columns_scratch(step.window);
  if (step.work == Work::kWinogradPairs) return kernels.winograd_pairs_scratch(step.window, step.weights.pairs.tile);
  const bool conv = step.work == Work::kConv || step.work == Work::kConvExpand;
  return panel + (conv ? kernels.conv2d_scratch(step.window) : 0);
}

void run_steps(camfit_engine& engine, uint32_t first) {
  if (engine.profiling) {
    for (uint32_t k = 0; k < engine.layer_count; ++k) engine.layers[k].nanoseconds = 0;
  }
  for (uint32_t s = first; s < engine.step_count; ++s) {
    const Step& step = engine.steps[s];
    const Job job{engine, step};
    const uint64_t begin = engine.profiling ? now_in_nanoseconds() : 0;
    engine.pool.run(run_part, &job, step.rows.parts * step.columns.parts);
    if (engine.profiling) engine.layers[step.layer].nanoseconds += now_in_nanoseconds() - begin;
  }
}

}  // namespace camfit
