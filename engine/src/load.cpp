// camfit_load: the stages of reading, then preparation, then threads.
#include <cstdlib>
#include <cstring>
#include <new>

#include "engine.h"

namespace camfit {
namespace {

constexpr int kMaxThreads = 64;

bool bad_argument(Error& error, const char* text) {
  error.malformed("%s", text);
  error.status = CAMFIT_BAD_ARGUMENT;
  return false;
}

// C may pass any number for an enumeration; C++ must not even look at one out of range.
template <class Enumeration>
unsigned code_of(const Enumeration& value) {
  unsigned code;
  static_assert(sizeof code == sizeof value, "C enumerations are ints");
  std::memcpy(&code, &value, sizeof code);
  return code;
}

bool choose_kernels(camfit_isa wanted, camfit_engine& engine, Error& error) {
  const Kernels *avx2 = avx2_kernels(), *avx512 = avx512_kernels(), *neon = neon_kernels();
  if (wanted == CAMFIT_ISA_AVX2 && !avx2) {
    return bad_argument(error, "isa: AVX2 was asked for, but this processor or build lacks AVX2, FMA or POPCNT");
  }
  if (wanted == CAMFIT_ISA_AVX512 && !avx512) {
    return bad_argument(error, "isa: AVX-512 was asked for, but this processor or build lacks its F, BW, DQ or VL");
  }
  if (wanted == CAMFIT_ISA_NEON && !neon) {
    return bad_argument(error, "isa: NEON was asked for, but this processor or build lacks it");
  }
  if (wanted == CAMFIT_ISA_AUTO) {
    wanted = avx512 ? CAMFIT_ISA_AVX512 : avx2 ? CAMFIT_ISA_AVX2 : neon ? CAMFIT_ISA_NEON : CAMFIT_ISA_PLAIN;
  }
  engine.kernels = wanted == CAMFIT_ISA_AVX512 ? avx512
                   : wanted == CAMFIT_ISA_AVX2 ? avx2
                   : wanted == CAMFIT_ISA_NEON ? neon
                                               : &plain_kernels();
  engine.isa = wanted;
  return true;
}

bool keep_info(const Section& info, camfit_engine& engine, Error& error) {
  char* copy = engine.allocator.take<char>(info.size);
  if (!copy) return error.out_of_memory(engine.allocator, "the INFO section");
  if (info.size) std::memcpy(copy, info.data, info.size);
  engine.info = copy;
  engine.info_size = info.size;
  return true;
}

bool load(const uint8_t* bytes, size_t size, const camfit_options& options, const Limits& limits, camfit_engine& engine,
          Error& error) {
  const int threads = options.threads == 0 ? 1 : options.threads;
  if (threads < 0 || threads > kMaxThreads) return bad_argument(error, "threads: expected 1 to 64");
  if (code_of(options.mode) > CAMFIT_MEMORY) return bad_argument(error, "mode: unknown");
  if (code_of(options.isa) > CAMFIT_ISA_NEON) return bad_argument(error, "isa: unknown");
  if (!choose_kernels(options.isa, engine, error)) return false;

  Allocator& allocator = engine.allocator;
  Sections sections;
  Network network;
  if (!read_sections(bytes, size, &sections, error) || !keep_info(sections.info, engine, error) ||
      !read_weight_table(sections, limits, allocator, &network, error) ||
      !read_nodes(sections, limits, allocator, &network, error)) {
    return false;
  }
  Layer* layers = allocator.take<Layer>(network.node_count);
  Shape* values = allocator.take<Shape>(network.node_count + uint64_t(1));
  if (!layers || !values) return error.out_of_memory(allocator, "the list of layers");
  if (!resolve_layers(network, limits, layers, values, error) ||
      !prepare(network, layers, values, options.mode, threads, &engine, error)) {
    return false;
  }
  allocator.give(values);
  allocator.give(layers);
  allocator.give(network.inputs);
  allocator.give(network.nodes);
  allocator.give(network.weights);
  if (!engine.pool.start(threads, allocator)) return error.out_of_memory(allocator, "the threads");
  return true;
}

}  // namespace

camfit_status load_engine(const void* bytes, size_t size, const camfit_options* options, const Limits& limits,
                          camfit_engine** out, char* text) {
  Error error;
  camfit_engine* engine = nullptr;
  const camfit_options defaults = {1, CAMFIT_SPEED, CAMFIT_ISA_AUTO};
  if (out) *out = nullptr;
  if (!bytes || !out) {
    bad_argument(error, "bytes and out must not be null");
  } else {
    void* memory = std::malloc(sizeof(camfit_engine));
    if (!memory) {
      const Allocator none(0);
      error.out_of_memory(none, "the engine");
    } else {
      engine = new (memory) camfit_engine(limits.memory);
      load(static_cast<const uint8_t*>(bytes), size, options ? *options : defaults, limits, *engine, error);
    }
  }
  if (error.status == CAMFIT_OK) {
    *out = engine;
  } else if (engine) {
    camfit_free(engine);
  }
  if (text) std::memcpy(text, error.text, sizeof error.text);
  return error.status;
}

}  // namespace camfit
