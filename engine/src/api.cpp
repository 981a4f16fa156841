// The C interface of camfit.h over a loaded engine.
// The shared library shows these functions and nothing else.
#if defined(CAMFIT_EXPORT)
#pragma GCC visibility push(default)
#endif
#include "camfit.h"
#if defined(CAMFIT_EXPORT)
#pragma GCC visibility pop
#endif

#include <cstdlib>
#include <cstring>

#include "engine.h"

namespace {

camfit_shape shape_of(const camfit::Shape& shape) { return camfit_shape{shape.height, shape.width, shape.channels}; }

using camfit::run_steps;

void copy_output(const camfit_engine& engine, float* output) {
  std::memcpy(output, engine.arena + engine.output_at, engine.output.size() * sizeof(float));
}

// The bytes that the first step would make of an image of bytes.
void look_up(const camfit_engine& engine, const uint8_t* image, uint8_t* out) {
  const size_t channels = size_t(engine.input.channels), pixels = engine.input.size() / channels;
  for (size_t p = 0; p < pixels; ++p, image += channels, out += channels)
    for (size_t c = 0; c < channels; ++c) out[c] = engine.input_table[image[c] * channels + c];
}

}  // namespace

extern "C" {

camfit_status camfit_load(const void* bytes, size_t size, const camfit_options* options, camfit_engine** out,
                          char* error) {
  return camfit::load_engine(bytes, size, options, camfit::Limits(), out, error);
}

void camfit_free(camfit_engine* engine) {
  if (!engine) return;
  engine->~camfit_engine();
  std::free(engine);
}

camfit_shape camfit_input_shape(const camfit_engine* engine) { return shape_of(engine->input); }
camfit_shape camfit_output_shape(const camfit_engine* engine) { return shape_of(engine->output); }

camfit_status camfit_run_u8(camfit_engine* engine, const uint8_t* image, float* output) {
  if (!engine || !image || !output) return CAMFIT_BAD_ARGUMENT;
  if (engine->input_table) {
    look_up(*engine, image, engine->arena + engine->steps[0].out);
    run_steps(*engine, 1);
  } else {
    const camfit::Shape& in = engine->input;
    engine->kernels->normalise_u8(image, in.height * in.width, in.channels, engine->scale, engine->shift,
                                  reinterpret_cast<float*>(engine->arena + engine->input_at));
    run_steps(*engine, 0);
  }
  copy_output(*engine, output);
  return CAMFIT_OK;
}

camfit_status camfit_run_f32(camfit_engine* engine, const float* image, float* output) {
  if (!engine || !image || !output) return CAMFIT_BAD_ARGUMENT;
  const camfit::Shape& in = engine->input;
  engine->kernels->normalise_f32(image, in.height * in.width, in.channels, engine->scale, engine->shift,
                                 reinterpret_cast<float*>(engine->arena + engine->input_at));
  run_steps(*engine, 0);
  copy_output(*engine, output);
  return CAMFIT_OK;
}

camfit_memory camfit_memory_use(const camfit_engine* engine) {
  camfit_memory memory;
  memory.weights_bytes = size_t(engine->weights_bytes);
  memory.arena_bytes = size_t(engine->arena_bytes);
  memory.scratch_bytes = size_t(engine->scratch_bytes);
  memory.total_bytes = size_t(engine->allocator.current()) + sizeof(camfit_engine);
  memory.load_peak_bytes = size_t(engine->allocator.peak()) + sizeof(camfit_engine);
  return memory;
}

camfit_isa camfit_isa_in_use(const camfit_engine* engine) { return engine->isa; }

const char* camfit_info(const camfit_engine* engine, size_t* length) {
  *length = engine->info_size;
  return engine->info;
}

size_t camfit_layer_count(const camfit_engine* engine) { return engine->layer_count; }

camfit_status camfit_layer_at(const camfit_engine* engine, size_t index, camfit_layer* out) {
  if (!engine || !out || index >= engine->layer_count) return CAMFIT_BAD_ARGUMENT;
  const camfit::LayerRecord& record = engine->layers[index];
  *out = camfit_layer{record.name,   record.op,   record.form,       size_t(record.stored_bytes),
                      record.params, record.macs, record.nanoseconds};
  return CAMFIT_OK;
}

void camfit_profile(camfit_engine* engine, int on) { engine->profiling = on != 0; }

const char* camfit_version(void) { return CAMFIT_VERSION; }

}  // extern "C"
