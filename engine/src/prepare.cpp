// From layers to steps: which kernel, on which buffers, with which weights, shared how.
#include <cstring>
#include <initializer_list>

#include "arena.h"
#include "engine.h"
#include "fuse_pool.h"

namespace camfit {
namespace {

// Node k runs at time k + 1 and gives value k + 1; value 0 exists at time 0.
struct Preparation {
  const Network& network;
  const Layer* layers;
  const Shape* values;
  camfit_mode mode;
  int threads;
  camfit_engine& engine;
  Error& error;

  uint32_t* last_use = nullptr;   // of each value
  uint32_t* buffer_of = nullptr;  // of each value
  ArenaBuffer* buffers = nullptr;
  uint32_t buffer_count = 0;

  const uint32_t* inputs(uint32_t node) const { return network.inputs + network.nodes[node].first_input; }
};

void find_last_uses(Preparation& p) {
  const uint32_t count = p.network.node_count;
  for (uint32_t v = 0; v <= count; ++v) p.last_use[v] = v;
  for (uint32_t k = 0; k < count; ++k) {
    for (uint32_t i = 0; i < p.network.nodes[k].input_count; ++i) p.last_use[p.inputs(k)[i]] = k + 1;
  }
  p.last_use[count] = count + 1;
}

uint32_t new_buffer(Preparation& p, uint64_t bytes, uint32_t first, uint32_t last) {
  p.buffers[p.buffer_count] = ArenaBuffer{bytes, first, last, 0};
  return p.buffer_count++;
}

bool computes_in_place(Op op) {
  return op == Op::kAdd || op == Op::kActivation || op == Op::kAffine || op == Op::kInt8Add;
}

// An image of one pixel or one channel has the same order flattened or not.
bool changes_nothing(const Layer& layer) {
  return layer.op == Op::kFlatten && (layer.in.channels == 1 || (layer.in.height == 1 && layer.in.width == 1));
}

// The buffer of the value that node k gives: its input's where that input is of no further use, else a new one.
uint32_t buffer_of_output(Preparation& p, uint32_t k) {
  const Layer& layer = p.layers[k];
  const uint32_t time = k + 1, last = p.last_use[time];
  if (changes_nothing(layer)) {
    ArenaBuffer& shared = p.buffers[p.buffer_of[p.inputs(k)[0]]];
    if (shared.last < last) shared.last = last;
    return p.buffer_of[p.inputs(k)[0]];
  }
  if (computes_in_place(layer.op)) {
    for (uint32_t i = 0; i < layer.node->input_count; ++i) {
      const uint32_t candidate = p.buffer_of[p.inputs(k)[i]];
      if (p.buffers[candidate].last != time) continue;
      p.buffers[candidate].last = last;
      return candidate;
    }
  }
  return new_buffer(p, layer.out.size() * element_bytes(layer), time, last);
}

Step& new_step(Preparation& p, uint32_t k, Work work, uint32_t in, uint32_t out) {
  Step& step = p.engine.steps[p.engine.step_count++];
  step = Step();
  step.work = work;
  step.layer = k;
  step.in = in;  // buffers for now, offsets once the arena has been planned
  step.other = in;
  step.out = out;
  step.window = p.layers[k].window;
  step.window.in = p.layers[k].in;
  step.window.out = p.layers[k].out;
  step.weights.epilogue.activation = p.layers[k].activation;
  step.count_include_pad = p.layers[k].count_include_pad;
  step.level = p.layers[k].in_level;
  step.element = int(element_bytes(p.layers[k]));
  step.first_channel = p.layers[k].first_channel;
  step.rows.count = p.layers[k].out.height;
  return step;
}

// Binary ops: pack the signs, work out K where it is wanted, then convolve.
void add_binary_steps(Preparation& p, uint32_t k, uint32_t in, uint32_t out) {
  const Layer& layer = p.layers[k];
  const uint32_t time = k + 1;
  const int pixels = layer.in.height * layer.in.width;
  const uint64_t words = uint64_t(pixels) * ((uint64_t(layer.in.channels) + 63) / 64);
  const uint32_t packed = new_buffer(p, words * sizeof(uint64_t), time, time);
  uint32_t mean = packed, scale = packed;
  if (layer.scale_input) mean = scale = new_buffer(p, uint64_t(pixels) * sizeof(float), time, time);

  Step& pack = new_step(p, k, Work::kPackSigns, in, packed);
  pack.other = mean;
  pack.rows.count = pixels;
  if (layer.scale_input && layer.op == Op::kBinaryConv2d) {
    scale = new_buffer(p, uint64_t(layer.out.height) * uint64_t(layer.out.width) * sizeof(float), time, time);
    new_step(p, k, Work::kBoxFilter, mean, scale);
  }
  Step& convolve = new_step(p, k, Work::kBinaryConv, packed, out);
  convolve.other = scale;
  convolve.columns.count = layer.out.channels;
  convolve.columns.unit = kPanel;
}

void add_concat_steps(Preparation& p, uint32_t k, uint32_t out) {
  int channel = 0;
  for (uint32_t i = 0; i < p.layers[k].node->input_count; ++i) {
    const uint32_t value = p.inputs(k)[i];
    Step& copy = new_step(p, k, Work::kCopyChannels, p.buffer_of[value], out);
    copy.window.in = p.values[value];
    copy.first_channel = channel;
    copy.rows.count = copy.window.in.height * copy.window.in.width;
    channel += copy.window.in.channels;
  }
}

// Steps of one kernel call. `shared` is what its rows count.
struct OneStep {
  Work floats, bytes;  // the work on values of either kind
  enum { kRows, kPixels, kElements, kNone } shared;
};

OneStep step_of(Op op) {
  switch (op) {
    case Op::kConv2d: return {Work::kConv, Work::kConv, OneStep::kRows};
    case Op::kLinear: return {Work::kLinear, Work::kLinear, OneStep::kRows};
    case Op::kMaxPool: return {Work::kMaxPool, Work::kInt8MaxPool, OneStep::kRows};
    case Op::kAvgPool: return {Work::kAvgPool, Work::kInt8AvgPool, OneStep::kRows};
    case Op::kGlobalAvgPool: return {Work::kGlobalAvgPool, Work::kGlobalAvgPool, OneStep::kNone};
    case Op::kFlatten: return {Work::kFlatten, Work::kInt8Flatten, OneStep::kRows};
    case Op::kSoftmax: return {Work::kSoftmax, Work::kSoftmax, OneStep::kRows};
    case Op::kChannelShuffle: return {Work::kChannelShuffle, Work::kInt8Shuffle, OneStep::kPixels};
    case Op::kDepthToSpace: return {Work::kDepthToSpace, Work::kDepthToSpace, OneStep::kRows};
    case Op::kSlice: return {Work::kSlice, Work::kSlice, OneStep::kPixels};
    case Op::kAffine: return {Work::kAffine, Work::kAffine, OneStep::kPixels};
    case Op::kAdd: return {Work::kAdd, Work::kAdd, OneStep::kElements};
    case Op::kActivation: return {Work::kActivation, Work::kInt8Clamp, OneStep::kElements};
    case Op::kQuantize: return {Work::kQuantize, Work::kQuantize, OneStep::kElements};
    case Op::kDequantize: return {Work::kDequantize, Work::kDequantize, OneStep::kElements};
    case Op::kInt8Conv2d: return {Work::kInt8Conv, Work::kInt8Conv, OneStep::kRows};
    case Op::kInt8Linear: return {Work::kInt8Linear, Work::kInt8Linear, OneStep::kRows};
    case Op::kInt8Add: return {Work::kInt8Add, Work::kInt8Add, OneStep::kElements};
    case Op::kInt8GlobalAvgPool: return {Work::kInt8GlobalAvgPool, Work::kInt8GlobalAvgPool, OneStep::kNone};
    case Op::kBinaryConv2d:
    case Op::kBinaryLinear:
    case Op::kConcat: break;  // several steps
  }
  return {Work::kFlatten, Work::kFlatten, OneStep::kNone};
}

void add_steps(Preparation& p, uint32_t k) {
  const Layer& layer = p.layers[k];
  const uint32_t in = p.buffer_of[p.inputs(k)[0]];
  const uint32_t out = p.buffer_of[k + 1] = buffer_of_output(p, k);
  if (changes_nothing(layer)) return;
  if (layer.op == Op::kBinaryConv2d || layer.op == Op::kBinaryLinear) return add_binary_steps(p, k, in, out);
  if (layer.op == Op::kConcat) return add_concat_steps(p, k, out);
  const OneStep one = step_of(layer.op);
  Step& step = new_step(p, k, layer.in_level.bytes() ? one.bytes : one.floats, in, out);
  if (layer.op == Op::kAdd || layer.op == Op::kInt8Add) step.other = p.buffer_of[p.inputs(k)[1]];
  if (layer.op == Op::kQuantize) step.level = layer.out_level;
  switch (one.shared) {
    case OneStep::kRows: break;
    case OneStep::kNone: step.rows.count = 1; break;
    case OneStep::kPixels: step.rows.count = layer.out.height * layer.out.width; break;
    case OneStep::kElements:
      step.rows.count = int(layer.out.size());
      step.rows.unit = 64;
      break;
  }
}

// Whether node k and the one after it become one step.
bool is_fused(const Preparation& p, uint32_t k) {
  return k + 1 < p.network.node_count && p.inputs(k + 1)[0] == k + 1 && p.last_use[k + 1] == k + 2 &&
         can_fuse(p.layers[k], p.layers[k + 1], p.threads);
}

// The value between the two has no buffer.
void add_fused_step(Preparation& p, uint32_t k) {
  const Layer& pool = p.layers[k + 1];
  const uint32_t out = p.buffer_of[k + 2] = new_buffer(p, pool.out.size(), k + 1, p.last_use[k + 2]);
  Step& step = new_step(p, k, Work::kInt8Conv, p.buffer_of[p.inputs(k)[0]], out);
  step.pool = fused_pool(pool);
  step.rows.count = pool.out.height;
}

// Lists steps and buffers, and lays the buffers out.
bool plan(Preparation& p) {
  Allocator& allocator = p.engine.allocator;
  const uint32_t count = p.network.node_count;
  uint64_t steps = 0;
  for (uint32_t k = 0; k < count; ++k) steps += p.network.nodes[k].input_count + 2u;
  p.engine.steps = allocator.take<Step>(steps);
  p.last_use = allocator.take<uint32_t>(count + 1);
  p.buffer_of = allocator.take<uint32_t>(count + 1);
  p.buffers = allocator.take<ArenaBuffer>(4 * uint64_t(count) + 1);
  if (!p.engine.steps || !p.last_use || !p.buffer_of || !p.buffers) return false;

  find_last_uses(p);
  p.buffer_of[0] = new_buffer(p, p.values[0].size() * sizeof(float), 0, p.last_use[0]);
  for (uint32_t k = 0; k < count; ++k) is_fused(p, k) ? add_fused_step(p, k++) : add_steps(p, k);
  if (!plan_arena(p.buffers, p.buffer_count, allocator, &p.engine.arena_bytes)) return false;
  for (uint32_t s = 0; s < p.engine.step_count; ++s) {
    Step& step = p.engine.steps[s];
    step.in = p.buffers[step.in].offset;
    step.other = p.buffers[step.other].offset;
    step.out = p.buffers[step.out].offset;
  }
  p.engine.input_at = p.buffers[p.buffer_of[0]].offset;
  p.engine.output_at = p.buffers[p.buffer_of[count]].offset;
  allocator.give(p.last_use);
  allocator.give(p.buffer_of);
  allocator.give(p.buffers);
  return true;
}

Work work_of_linear(Held held) {
  switch (held) {
    case Held::kCodebook: return Work::kLinearCodebook;
    case Held::kSparse: return Work::kLinearSparse;
    case Held::kLinearRows: return Work::kLinearRows;
    case Held::kLinearChunks: return Work::kLinearChunks;
    case Held::kLinearBlocks: return Work::kLinearBlocks;
    case Held::kLinearTiles: return Work::kLinearTiles;
    default: return Work::kLinearHashed;
  }
}

// With the weights held, the kernel of a step and what there is to share are known.
void choose_kernel(Step* step) {
  const MatrixSource& source = step->weights.source;
  switch (step->weights.held) {
    case Held::kPanels:
    case Held::kExpand: {
      const bool expand = step->weights.held == Held::kExpand;
      if (step->work == Work::kConv) step->work = expand ? Work::kConvExpand : Work::kConv;
      if (step->work == Work::kLinear) step->work = expand ? Work::kLinearExpand : Work::kLinear;
      step->columns.count = panel_count(source);
      break;
    }
    case Held::kWinograd:
      step->work = Work::kWinograd;
      step->columns.count = panel_count(source);
      step->rows.unit = step->weights.tile;
      step->columns.unit = 2;  // kernels may take two at a time
      break;
    case Held::kSparseConv:
      step->work = Work::kConvSparse;
      step->columns.count = source.cout;
      step->columns.unit = kPanel;
      break;
    case Held::kColumns:
      step->work = Work::kConvColumns;
      step->columns.count = panel_count(source);
      step->columns.unit = 2;  // kernels may take two at a time
      break;
    case Held::kPairs:
      step->work = Work::kWinogradPairs;
      step->rows.unit = step->weights.pairs.tile;
      step->columns.count = source.cout;
      step->columns.unit = kPanel;
      break;
    case Held::kDepthwise: step->work = Work::kDepthwise; break;
    case Held::kCodebook:
    case Held::kSparse:
    case Held::kLinearRows:
    case Held::kLinearChunks:
    case Held::kLinearBlocks:
    case Held::kLinearTiles:
    case Held::kHashed:
      step->work = work_of_linear(step->weights.held);
      step->columns.count = source.cout;
      step->columns.unit = kPanel;
      break;
    case Held::kInt8:
      if (step->pool.kind == FusedPool::kNone) step->columns.count = int8_panel_count(step->window);
      break;
    case Held::kInt8Depthwise: step->work = Work::kInt8Depthwise; break;
    case Held::kSigns: break;
  }
}

bool record_layer(Preparation& p, uint32_t k, const HeldWeights& held) {
  const Layer& layer = p.layers[k];
  char* name = p.engine.allocator.take<char>(layer.node->name_length + 1u);
  if (!name) return p.error.out_of_memory(p.engine.allocator, "the names of the layers");
  std::memcpy(name, layer.node->name, layer.node->name_length);
  name[layer.node->name_length] = 0;
  LayerRecord& record = p.engine.layers[k];
  record = LayerRecord();
  record.name = name;
  record.op = op_layout(uint8_t(layer.op))->name;
  record.form = layer.weight ? form_name(layer.weight->form) : layer.scale || layer.bias ? "dense" : "";
  for (const Weight* weight : {layer.weight, layer.scale, layer.bias}) {
    if (!weight) continue;
    record.stored_bytes += weight->payload_size;
    record.params += weight == layer.weight ? held.params : weight->elements();
  }
  if (layer.weight) record.macs = uint64_t(layer.out.height) * uint64_t(layer.out.width) * held.nonzeros;
  return true;
}

bool has_int8_arithmetic(Work work) {
  return work == Work::kInt8Add || work == Work::kInt8GlobalAvgPool || work == Work::kInt8Clamp;
}

bool has_weights(const Layer& layer) { return layer.weight || layer.op == Op::kAffine; }

// A step's weights belong to the last step of its layer: the earlier ones of a binary layer only prepare its input.
bool hold_all_weights(Preparation& p) {
  camfit_engine& engine = p.engine;
  const uint64_t before = engine.allocator.current();
  for (uint32_t s = 0; s < engine.step_count; ++s) {
    Step& step = engine.steps[s];
    const Layer& layer = p.layers[step.layer];
    const bool last = s + 1 == engine.step_count || engine.steps[s + 1].layer != step.layer;
    if (last && has_weights(layer)) {
      if (!hold_weights(layer, p.mode, *engine.kernels, engine.allocator, &step.weights, p.error)) return false;
      if (layer.weight) choose_kernel(&step);
    }
    if (has_int8_arithmetic(step.work) &&
        !hold_int8_arithmetic(layer, engine.allocator, &step.weights.int8, p.error)) {
      return false;
    }
    choose_parts(&step, layer.work, p.threads, engine.isa == CAMFIT_ISA_PLAIN);
  }
  engine.weights_bytes = engine.allocator.current() - before;
  return true;
}

bool record_layers(Preparation& p) {
  camfit_engine& engine = p.engine;
  engine.layers = engine.allocator.take<LayerRecord>(p.network.node_count);
  if (!engine.layers) return p.error.out_of_memory(engine.allocator, "the list of layers");
  engine.layer_count = p.network.node_count;
  uint32_t s = 0;
  for (uint32_t k = 0; k < p.network.node_count; ++k) {
    const HeldWeights none = HeldWeights();
    const HeldWeights* held = &none;  // of the layer's last step
    for (; s < engine.step_count && engine.steps[s].layer == k; ++s) held = &engine.steps[s].weights;
    if (!record_layer(p, k, *held)) return false;
  }
  return true;
}

// See camfit_engine::input_table. Made by the kernels themselves, from an image of all bytes.
bool make_input_table(const Preparation& p) {
  camfit_engine& engine = p.engine;
  uint32_t readers = 0;
  for (uint32_t k = 0; k < p.network.node_count; ++k) {
    for (uint32_t i = 0; i < p.network.nodes[k].input_count; ++i) readers += p.inputs(k)[i] == 0;
  }
  constexpr size_t kValues = 256, kMostChannels = 64;  // more are no image, and the table might be the larger
  if (engine.step_count == 0 || engine.steps[0].work != Work::kQuantize || readers != 1) return true;
  if (engine.input.channels > int(kMostChannels)) return true;
  const size_t channels = size_t(engine.input.channels), count = kValues * channels;
  uint8_t* image = engine.allocator.take<uint8_t>(count);
  float* normal = engine.allocator.take<float>(count);
  uint8_t* table = engine.allocator.take<uint8_t>(count);
  if (!image || !normal || !table) return p.error.out_of_memory(engine.allocator, "the table of input bytes");
  for (size_t i = 0; i < count; ++i) image[i] = uint8_t(i / channels);
  engine.kernels->normalise_u8(image, int(kValues), int(channels), engine.scale, engine.shift, normal);
  const Quantization& level = engine.steps[0].level;
  engine.kernels->int8->quantize(normal, count, 1.0f / level.scale, level.zero, table);
  engine.allocator.give(image);
  engine.allocator.give(normal);
  engine.input_table = table;
  return true;
}

bool take_work_space(camfit_engine& engine, int threads, Error& error) {
  for (uint32_t s = 0; s < engine.step_count; ++s) {
    const uint64_t floats = step_scratch(engine.steps[s], *engine.kernels);
    if (floats > engine.scratch_floats) engine.scratch_floats = floats;
  }
  engine.scratch_floats = (engine.scratch_floats + 15) / 16 * 16;  // whole cache lines: threads do not share one
  if (engine.scratch_floats > engine.allocator.limit() / uint64_t(threads)) {
    return error.unsupported("the kernels need %llu floats of work space",
                             static_cast<unsigned long long>(engine.scratch_floats));
  }
  engine.arena = engine.allocator.take<uint8_t>(engine.arena_bytes + kInt8Slack);  // integer kernels read past the end
  if (!engine.arena) return error.out_of_memory(engine.allocator, "the activations");
  engine.scratch_bytes = engine.scratch_floats * uint64_t(threads) * sizeof(float);
  engine.scratch = engine.allocator.take<float>(engine.scratch_floats * uint64_t(threads));
  return engine.scratch || error.out_of_memory(engine.allocator, "the work space of the kernels");
}

}  // namespace

bool prepare(const Network& network, const Layer* layers, const Shape* values, camfit_mode mode, int threads,
             camfit_engine* engine, Error& error) {
  Preparation p{network, layers, values, mode, threads, *engine, error};
  engine->input = values[0];
  engine->output = values[network.node_count];
  engine->scale = network.scale;
  engine->shift = network.shift;
  engine->work = values[0].size();
  for (uint32_t k = 0; k < network.node_count; ++k) engine->work += layers[k].work;
  if (!plan(p)) return error.out_of_memory(engine->allocator, "the plan of the network");
  return hold_all_weights(p) && record_layers(p) && make_input_table(p) && take_work_space(*engine, threads, error);
}

}  // namespace camfit
