// The engine after load: prepared steps over one arena. What camfit.h calls camfit_engine.
#pragma once
#include "allocator.h"
#include "camfit.h"
#include "thread_pool.h"
#include "weights.h"

namespace camfit {

enum class Work : uint8_t {
  kConv,           // panels
  kConvExpand,     // each panel filled first
  kWinograd,       // transformed panels
  kConvSparse,     // non-zero weights
  kConvColumns,    // columns that are not zero for a whole panel
  kWinogradPairs,  // kernels that are not zero, transformed
  kDepthwise,
  kLinear,
  kLinearExpand,
  kLinearCodebook,
  kLinearSparse,
  kLinearRows,
  kLinearChunks,
  kLinearBlocks,
  kLinearTiles,
  kLinearHashed,
  kPackSigns,      // in -> words (out), mean of |x| (other)
  kBoxFilter,      // mean of |x| (in) -> K (out)
  kBinaryConv,     // words (in), K (other) -> out
  kMaxPool,
  kAvgPool,
  kGlobalAvgPool,
  kAdd,
  kCopyChannels,   // one input of a concat
  kActivation,
  kAffine,
  kFlatten,
  kSoftmax,
  kChannelShuffle,
  kQuantize,
  kDequantize,
  kInt8Conv,
  kInt8Depthwise,
  kInt8Linear,
  kInt8Add,
  kInt8MaxPool,
  kInt8AvgPool,
  kInt8GlobalAvgPool,
  kInt8Clamp,      // activation
  kInt8Flatten,
  kInt8Shuffle,
  kDepthToSpace,   // floats or bytes
  kSlice,          // floats or bytes
};

// One axis of the work of a step, cut into `parts` ranges at multiples of `unit`.
struct Axis {
  int count = 1, unit = 1, parts = 1;

  int units() const { return (count + unit - 1) / unit; }
  Range part(int index) const {
    const int64_t begin = int64_t(units()) * index / parts * unit, end = int64_t(units()) * (index + 1) / parts * unit;
    return Range{int(begin), int(end < count ? end : count)};
  }
};

// What follows a convolution of bytes in the same step (fuse_pool.h).
struct FusedPool {
  enum Kind : uint8_t { kNone, kMax, kAverage } kind;
  bool count_include_pad;
  int zero;
  Window window;
};

// One call of a kernel, shared among threads as a grid of parts. Rows are output rows, pixels or elements; columns are
// panels or output channels.
struct Step {
  Work work;
  bool count_include_pad;
  uint32_t layer;
  uint64_t in, other, out;  // bytes from the start of the arena
  Window window;            // its shapes hold for every kind of step
  Quantization level;       // of the input; kQuantize: of the output
  int element;              // bytes of a value of the output
  HeldWeights weights;      // its epilogue holds the activation of every kind of step
  int first_channel;        // kCopyChannels: where in the output's channels; kSlice: in the input's
  FusedPool pool;           // then `out` and `rows` are the pool's
  Axis rows, columns;
};

struct LayerRecord {
  const char* name;
  const char* op;
  const char* form;
  uint64_t stored_bytes, params, macs, nanoseconds;
};

}  // namespace camfit

struct camfit_engine {
  explicit camfit_engine(uint64_t limit) : allocator(limit) {}
  ~camfit_engine() { pool.stop(); }

  camfit::Allocator allocator;  // owns all that the pointers below point to
  camfit::ThreadPool pool;
  const camfit::Kernels* kernels = nullptr;
  camfit_isa isa = CAMFIT_ISA_PLAIN;

  camfit::Shape input, output;
  const float* scale = nullptr;  // the input's normalisation
  const float* shift = nullptr;
  uint64_t input_at = 0, output_at = 0;  // in the arena
  // Where the first step makes bytes of the input and nothing else reads it: the byte of channel c for each byte v of an
  // image, at [v][c], so that such an image needs no arithmetic. Else null.
  const uint8_t* input_table = nullptr;
  uint8_t* arena = nullptr;
  float* scratch = nullptr;
  uint64_t scratch_floats = 0;  // of one thread

  camfit::Step* steps = nullptr;
  uint32_t step_count = 0;
  camfit::LayerRecord* layers = nullptr;
  uint32_t layer_count = 0;
  const char* info = nullptr;
  uint32_t info_size = 0;

  uint64_t weights_bytes = 0, arena_bytes = 0, scratch_bytes = 0;
  uint64_t work = 0;  // multiply-accumulates, or elements read, of one image
  bool profiling = false;
};

namespace camfit {

// camfit_load with limits of the caller's choice.
camfit_status load_engine(const void* bytes, size_t size, const camfit_options* options, const Limits& limits,
                          camfit_engine** out, char* error);

// Runs the steps from `first` on, on the values that the arena holds. See run.cpp.
void run_steps(camfit_engine& engine, uint32_t first);

// Floats of private work space that one thread needs for a step.
uint64_t step_scratch(const Step& step, const Kernels& kernels);

// Sets the parts of `step`, of a layer with this work: as many as pay off. `plain`: with the plain kernels.
void choose_parts(Step* step, uint64_t layer_work, int threads, bool plain);

// Turns checked layers into steps with planned buffers and held weights: fills all of `engine` but its threads.
bool prepare(const Network& network, const Layer* layers, const Shape* values, camfit_mode mode, int threads,
             camfit_engine* engine, Error& error);

}  // namespace camfit
