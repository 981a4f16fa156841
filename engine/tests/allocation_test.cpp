// No call after camfit_load allocates memory; a load within any limit succeeds or is refused, and frees what it took.
#include <cstdlib>
#include <vector>

#include "checks.h"
#include "engine.h"
#include "network_builder.h"

namespace {

long allocations = 0;  // counted by the hooks below, in every thread

}  // namespace

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CAMFIT_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CAMFIT_ASAN
#endif

#if defined(CAMFIT_ASAN)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t),
                                                         void (*)(const volatile void*));
namespace {
void count_allocation(const volatile void*, size_t) { __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED); }
void ignore_release(const volatile void*) {}
const int installed = __sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_release);
}  // namespace
#elif defined(__GLIBC__)
#pragma GCC visibility push(default)
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t bytes) {
  __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) {
  __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_realloc(memory, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
  __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  *memory = memalign(alignment, bytes);
  return *memory ? 0 : 12;
}
}
#pragma GCC visibility pop
#else
#define CAMFIT_UNCOUNTED
#endif

namespace {

using camfit_test::Bytes;

void test_runs_allocate_nothing(const Bytes& file, camfit_mode mode, int threads, camfit_isa isa) {
  const camfit_options options = {threads, mode, isa};
  camfit_engine* engine = nullptr;
  char why[CAMFIT_ERROR_BYTES];
  const camfit_status status = camfit_load(file.data(), file.size(), &options, &engine, why);
  CHECK(status == CAMFIT_OK, "%s", why);
  if (status != CAMFIT_OK) return;
  std::vector<uint8_t> image(8 * 8 * 2, 77);
  std::vector<float> floats(image.size(), 77.0f), output(5), again(5);
  const long before = allocations;
  for (int run = 0; run < 20; ++run) {
    camfit_profile(engine, run % 2);
    camfit_run_u8(engine, image.data(), output.data());
    camfit_run_f32(engine, floats.data(), again.data());
  }
  camfit_layer layer;
  for (size_t i = 0; i < camfit_layer_count(engine); ++i) camfit_layer_at(engine, i, &layer);
  size_t length;
  camfit_info(engine, &length);
  camfit_memory_use(engine);
  const long during = allocations - before;
  CHECK(during == 0, "%ld allocations, mode %d, %d threads", during, mode, threads);
  CHECK(output == again, "mode %d, %d threads", mode, threads);
  camfit_free(engine);
}

void test_counting_works() {
#if defined(CAMFIT_ASAN)
  CHECK(installed > 0, "hooks");
#endif
  const long before = allocations;
  void* volatile seen = std::malloc(100);  // volatile, or the compiler leaves both allocations out
  std::free(seen);
  std::vector<int> values(100);
  seen = values.data();
  CHECK(allocations >= before + 2, "%ld", allocations - before);
}

void test_every_memory_limit(const Bytes& file, camfit_mode mode) {
  const camfit_options options = {1, mode, CAMFIT_ISA_PLAIN};
  camfit_engine* engine = nullptr;
  camfit_load(file.data(), file.size(), &options, &engine, nullptr);
  const uint64_t peak = engine->allocator.peak();
  camfit_free(engine);
  const uint64_t step = peak / 400 + 1;
  for (uint64_t limit = 0; limit <= peak + step; limit += step) {
    camfit::Limits limits;
    limits.memory = limit;
    char why[CAMFIT_ERROR_BYTES];
    const camfit_status status = load_engine(file.data(), file.size(), &options, limits, &engine, why);
    const camfit_status expected = limit < peak ? CAMFIT_OUT_OF_MEMORY : CAMFIT_OK;
    CHECK(status == expected, "limit %d of %d: %s", int(limit), int(peak), why);
    CHECK((engine != nullptr) == (status == CAMFIT_OK), "limit %d", int(limit));
    if (engine) CHECK(engine->allocator.peak() <= limit, "limit %d", int(limit));
    camfit_free(engine);
  }
}

}  // namespace

int main() {
  const Bytes small = camfit_test::every_op(1).file(), wide = camfit_test::every_op(12).file();
#if !defined(CAMFIT_UNCOUNTED)
  test_counting_works();
#endif
  for (camfit_mode mode : {CAMFIT_SPEED, CAMFIT_MEMORY}) {
    for (int threads : {1, 2, 4}) {
      test_runs_allocate_nothing(small, mode, threads, CAMFIT_ISA_AUTO);
      test_runs_allocate_nothing(wide, mode, threads, CAMFIT_ISA_AUTO);
      test_runs_allocate_nothing(wide, mode, threads, CAMFIT_ISA_PLAIN);
      if (camfit::avx512_kernels()) test_runs_allocate_nothing(wide, mode, threads, CAMFIT_ISA_AVX2);
    }
    test_every_memory_limit(small, mode);
  }
  return camfit_test::failures ? 1 : 0;
}
