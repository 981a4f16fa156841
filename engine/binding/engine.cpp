// Engine: one loaded network.
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "bound.h"
#include "engine.h"

namespace nb = nanobind;

namespace {

struct FileMalformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct FileUnsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct OutOfMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void raise(camfit_status status, const char* why) {
  switch (status) {
    case CAMFIT_MALFORMED: throw FileMalformed(why);
    case CAMFIT_UNSUPPORTED: throw FileUnsupported(why);
    case CAMFIT_OUT_OF_MEMORY: throw OutOfMemory(why);
    case CAMFIT_OK:
    case CAMFIT_BAD_ARGUMENT: break;
  }
  throw nb::value_error(why);
}

using Image = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<nb::numpy, float>;

std::string describe(const Image& image) {
  std::string text = "(";
  for (size_t i = 0; i < image.ndim(); ++i) text += (i ? ", " : "") + std::to_string(image.shape(i));
  return text + (image.ndim() == 1 ? ",)" : ")");
}

std::string describe(camfit_shape shape) {
  return std::to_string(shape.height) + ", " + std::to_string(shape.width) + ", " + std::to_string(shape.channels);
}

class Engine {
 public:
  Engine(nb::bytes file, int threads, const std::string& mode, const std::string& isa) {
    camfit_options options = {threads, CAMFIT_SPEED, CAMFIT_ISA_AUTO};
    if (threads < 1) throw nb::value_error("threads: expected 1 or more");
    if (mode == "memory") {
      options.mode = CAMFIT_MEMORY;
    } else if (mode != "speed") {
      throw nb::value_error(("mode: '" + mode + "', expected 'speed' or 'memory'").c_str());
    }
    if (isa == "plain") {
      options.isa = CAMFIT_ISA_PLAIN;
    } else if (isa == "avx2") {
      options.isa = CAMFIT_ISA_AVX2;
    } else if (isa == "avx512") {
      options.isa = CAMFIT_ISA_AVX512;
    } else if (isa == "neon") {
      options.isa = CAMFIT_ISA_NEON;
    } else if (isa != "auto") {
      throw nb::value_error(("isa: '" + isa + "', expected 'auto', 'plain', 'avx2', 'avx512' or 'neon'").c_str());
    }
    char why[CAMFIT_ERROR_BYTES];
    camfit_status status;
    {
      nb::gil_scoped_release unlocked;
      status = camfit_load(file.data(), file.size(), &options, &engine_, why);
    }
    if (status != CAMFIT_OK) raise(status, why);
    in_ = camfit_input_shape(engine_);
    out_ = camfit_output_shape(engine_);
  }
  ~Engine() { camfit_free(engine_); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Output run(const Image& image) {
    const size_t images = check(image);
    float* values = new float[images * output_size()];
    nb::capsule owner(values, [](void* memory) noexcept { delete[] static_cast<float*>(memory); });
    {
      nb::gil_scoped_release unlocked;
      const std::lock_guard<std::mutex> guard(busy_);
      for (size_t i = 0; i < images; ++i) run_one(image, i, values + i * output_size());
    }
    std::vector<size_t> shape;
    if (image.ndim() == 4) shape.push_back(images);
    if (out_.height != 1 || out_.width != 1) {
      shape.push_back(size_t(out_.height));
      shape.push_back(size_t(out_.width));
    }
    shape.push_back(size_t(out_.channels));
    return Output(values, shape.size(), shape.data(), owner);
  }

  nb::ndarray<nb::numpy, int64_t> time_runs(const Image& image, size_t runs) {
    const size_t images = check(image);
    int64_t* times = new int64_t[runs];
    nb::capsule owner(times, [](void* memory) noexcept { delete[] static_cast<int64_t*>(memory); });
    std::vector<float> output(output_size());
    {
      nb::gil_scoped_release unlocked;
      const std::lock_guard<std::mutex> guard(busy_);
      for (size_t i = 0; i < runs; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        run_one(image, i % images, output.data());
        const auto taken = std::chrono::steady_clock::now() - begin;
        times[i] = std::chrono::duration_cast<std::chrono::nanoseconds>(taken).count();
      }
    }
    return nb::ndarray<nb::numpy, int64_t>(times, {runs}, owner);
  }

  nb::tuple input_shape() const { return nb::make_tuple(in_.height, in_.width, in_.channels); }
  nb::tuple output_shape() const { return nb::make_tuple(out_.height, out_.width, out_.channels); }

  nb::dict memory() const {
    const camfit_memory use = camfit_memory_use(engine_);
    nb::dict result;
    result["weights_bytes"] = use.weights_bytes;
    result["arena_bytes"] = use.arena_bytes;
    result["scratch_bytes"] = use.scratch_bytes;
    result["total_bytes"] = use.total_bytes;
    result["load_peak_bytes"] = use.load_peak_bytes;
    return result;
  }

  const char* isa() const {
    switch (camfit_isa_in_use(engine_)) {
      case CAMFIT_ISA_AVX512: return "avx512";
      case CAMFIT_ISA_AVX2: return "avx2";
      case CAMFIT_ISA_NEON: return "neon";
      default: return "plain";
    }
  }

  std::string info() const {
    size_t length;
    const char* text = camfit_info(engine_, &length);
    return std::string(text, length);
  }

  nb::list layers() {
    std::vector<camfit_layer> layers(camfit_layer_count(engine_));
    {
      nb::gil_scoped_release unlocked;
      const std::lock_guard<std::mutex> guard(busy_);
      for (size_t i = 0; i < layers.size(); ++i) camfit_layer_at(engine_, i, &layers[i]);
    }
    nb::list result;
    for (const camfit_layer& layer : layers) {
      nb::dict entry;
      entry["name"] = layer.name;
      entry["op"] = layer.op;
      entry["form"] = layer.form;
      entry["stored_bytes"] = layer.stored_bytes;
      entry["params"] = layer.params;
      entry["macs"] = layer.macs;
      entry["ns"] = layer.nanoseconds;
      result.append(entry);
    }
    return result;
  }

  nb::list plan() const {
    nb::list result;
    for (uint32_t i = 0; i < engine_->step_count; ++i) {
      const camfit::Step& step = engine_->steps[i];
      result.append(nb::make_tuple(step.layer, step.in, step.other, step.out));
    }
    return result;
  }
  nb::tuple ends() const { return nb::make_tuple(engine_->input_at, engine_->output_at); }

  void profile(bool on) {
    nb::gil_scoped_release unlocked;
    const std::lock_guard<std::mutex> guard(busy_);
    camfit_profile(engine_, on ? 1 : 0);
  }

 private:
  size_t output_size() const { return size_t(out_.height) * size_t(out_.width) * size_t(out_.channels); }
  size_t input_size() const { return size_t(in_.height) * size_t(in_.width) * size_t(in_.channels); }

  // Returns the number of images.
  size_t check(const Image& image) const {
    if (image.dtype() != nb::dtype<uint8_t>() && image.dtype() != nb::dtype<float>()) {
      throw nb::value_error("image: expected values of type uint8 or float32");
    }
    const size_t first = image.ndim() == 4 ? 1 : 0;
    if (image.ndim() != 3 + first || image.shape(first) != size_t(in_.height) ||
        image.shape(first + 1) != size_t(in_.width) || image.shape(first + 2) != size_t(in_.channels) ||
        (first && image.shape(0) == 0)) {
      const std::string why = "image: shape " + describe(image) + ", expected (" + describe(in_) +
                              ") or (N, " + describe(in_) + ") with N of at least 1";
      throw nb::value_error(why.c_str());
    }
    return first ? image.shape(0) : 1;
  }

  void run_one(const Image& image, size_t index, float* output) {
    const size_t offset = index * input_size();
    if (image.dtype() == nb::dtype<uint8_t>()) {
      camfit_run_u8(engine_, static_cast<const uint8_t*>(image.data()) + offset, output);
    } else {
      camfit_run_f32(engine_, static_cast<const float*>(image.data()) + offset, output);
    }
  }

  camfit_engine* engine_ = nullptr;
  camfit_shape in_{}, out_{};
  std::mutex busy_;  // an engine serves one caller at a time
};

}  // namespace

void binding::bind_engine(nb::module_& module) {
  nb::exception<FileMalformed>(module, "FileMalformed", PyExc_ValueError);
  nb::exception<FileUnsupported>(module, "FileUnsupported", PyExc_ValueError);
  nb::exception<OutOfMemory>(module, "OutOfMemory", PyExc_ValueError);

  nb::class_<Engine>(module, "Engine", "One loaded network. Threads may share it: calls take turns.")
      .def(nb::init<nb::bytes, int, const std::string&, const std::string&>(), nb::arg("file"), nb::arg("threads") = 1,
           nb::arg("mode") = "speed", nb::arg("isa") = "auto",
           "Loads the bytes of a .camfit file. mode: 'speed' or 'memory'; isa: 'auto', 'plain', 'avx2', 'avx512' or\n"
           "'neon'.\n"
           "Raises FileMalformed, FileUnsupported, OutOfMemory (all ValueError) or ValueError for a bad argument.")
      .def("run", &Engine::run, nb::arg("image"),
           "Runs one image [H, W, C] or a batch [N, H, W, C], uint8 or float32 on the raw scale of the data (images:\n"
           "0..255). Returns float32: [C] for a vector, else [H, W, C], with N in front for a batch. Releases the GIL.")
      .def("time_runs", &Engine::time_runs, nb::arg("image"), nb::arg("runs"),
           "Runs one image `runs` times (a batch: its images in turn). Returns nanoseconds of each run, int64.")
      .def("profile", &Engine::profile, nb::arg("on"), "Whether runs record the time of each layer; off at first.")
      .def_prop_ro("input_shape", &Engine::input_shape, "(height, width, channels)")
      .def_prop_ro("output_shape", &Engine::output_shape, "(height, width, channels); a vector is (1, 1, channels)")
      .def_prop_ro("memory", &Engine::memory,
                   "Bytes: weights_bytes, arena_bytes, scratch_bytes, total_bytes, load_peak_bytes.")
      .def_prop_ro("isa", &Engine::isa, "'avx512', 'avx2', 'neon' or 'plain': the kernels in use.")
      .def_prop_ro("info", &Engine::info, "The INFO section: JSON text.")
      .def_prop_ro("layers", &Engine::layers,
                   "Dicts in execution order: name, op, form, stored_bytes, params, macs, ns (last profiled run).")
      .def_prop_ro("plan", &Engine::plan,
                   "The steps of a run in order, several or none a layer: (layer, in, other, out), where the last three\n"
                   "are bytes from the start of the arena. What `other` is hangs on the op (engine/src/prepare.cpp).")
      .def_prop_ro("ends", &Engine::ends, "(input, output): where they lie in the arena, in bytes.");
}
