// Where a packed network's time goes: median milliseconds and share of each layer, then of each op, over profiled runs on
// an image of random bytes.
//   network_bench FILE [auto|plain|avx2|avx512|neon [threads]]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "camfit.h"

namespace {

constexpr int kWarmUp = 3, kLeastRuns = 11;
constexpr double kNanoseconds = 1e9;  // of runs

bool read_file(const char* path, std::vector<uint8_t>* out) {
  std::FILE* file = std::fopen(path, "rb");
  if (!file) return false;
  uint8_t block[1 << 16];
  for (size_t count; (count = std::fread(block, 1, sizeof block, file)) > 0;)
    out->insert(out->end(), block, block + count);
  const bool read = !std::ferror(file);
  std::fclose(file);
  return read;
}

bool isa_of(const char* name, camfit_isa* out) {
  const char* names[] = {"auto", "plain", "avx2", "avx512", "neon"};
  for (int i = 0; i < 5; ++i) {
    if (std::strcmp(name, names[i]) != 0) continue;
    *out = camfit_isa(i);
    return true;
  }
  return false;
}

double median(std::vector<double>* values) {
  std::nth_element(values->begin(), values->begin() + std::ptrdiff_t(values->size() / 2), values->end());
  return (*values)[values->size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  camfit_options options = {argc > 3 ? std::atoi(argv[3]) : 1, CAMFIT_SPEED, CAMFIT_ISA_AUTO};
  std::vector<uint8_t> bytes;
  if (argc < 2 || (argc > 2 && !isa_of(argv[2], &options.isa)) || !read_file(argv[1], &bytes)) {
    std::fprintf(stderr, "usage: network_bench FILE [auto|plain|avx2|avx512|neon [threads]]\n");
    return 2;
  }
  camfit_engine* engine = nullptr;
  char error[CAMFIT_ERROR_BYTES];
  if (camfit_load(bytes.data(), bytes.size(), &options, &engine, error) != CAMFIT_OK) {
    std::fprintf(stderr, "%s: %s\n", argv[1], error);
    return 1;
  }
  const camfit_shape in = camfit_input_shape(engine), out = camfit_output_shape(engine);
  std::vector<uint8_t> image(size_t(in.height) * size_t(in.width) * size_t(in.channels));
  std::mt19937 random(1);
  for (uint8_t& byte : image) byte = uint8_t(random());
  std::vector<float> output(size_t(out.height) * size_t(out.width) * size_t(out.channels));

  const size_t layers = camfit_layer_count(engine);
  std::vector<std::vector<double>> times(layers);
  std::vector<camfit_layer> layer(layers);
  camfit_profile(engine, 1);
  double passed = 0;
  for (int run = 0; run < kWarmUp + kLeastRuns || passed < kNanoseconds; ++run) {
    camfit_run_u8(engine, image.data(), output.data());
    if (run < kWarmUp) continue;
    for (size_t i = 0; i < layers; ++i) {
      camfit_layer_at(engine, i, &layer[i]);
      times[i].push_back(double(layer[i].nanoseconds));
      passed += double(layer[i].nanoseconds);
    }
    passed += 1000;  // so that a network of nothing ends too
  }

  double total = 0;
  std::vector<double> each(layers);
  std::map<std::string, double> by_op;
  for (size_t i = 0; i < layers; ++i) {
    each[i] = median(&times[i]);
    by_op[layer[i].op] += each[i];
    total += each[i];
  }
  for (size_t i = 0; i < layers; ++i)
    std::printf("%-32s %-22s %9.4f ms %5.1f %% %6.1f Gmac/s\n", layer[i].name, layer[i].op, each[i] / 1e6,
                100 * each[i] / total, each[i] > 0 ? double(layer[i].macs) / each[i] : 0);
  for (const auto& op : by_op)
    std::printf("%-55s %9.4f ms %5.1f %%\n", op.first.c_str(), op.second / 1e6, 100 * op.second / total);
  std::printf("%-55s %9.4f ms\n", "all", total / 1e6);
  camfit_free(engine);
  return 0;
}
