// Damage beneath correct checksums: whatever a byte of a section is changed to, the file is refused or runs. Meant for
// a build with CAMFIT_SANITIZE, where a read or write out of bounds ends the test.
#include <vector>

#include "checks.h"
#include "engine.h"
#include "network_builder.h"

namespace {

using camfit_test::assemble;
using camfit_test::Bytes;

int loaded = 0, refused = 0;

void load_and_run(const Bytes& file, camfit_mode mode) {
  camfit::Limits limits;
  limits.tensor_elements = 1 << 16;
  limits.memory = 1 << 22;
  limits.work = 1 << 22;
  const camfit_options options = {1, mode, CAMFIT_ISA_AUTO};
  camfit_engine* engine = nullptr;
  char why[CAMFIT_ERROR_BYTES] = "";
  if (load_engine(file.data(), file.size(), &options, limits, &engine, why) != CAMFIT_OK) {
    CHECK(why[0] != 0 && engine == nullptr, "refused without a reason");
    ++refused;
    return;
  }
  ++loaded;
  const std::vector<uint8_t> image(engine->input.size(), 200);
  std::vector<float> output(engine->output.size());
  camfit_run_u8(engine, image.data(), output.data());
  camfit_free(engine);
}

void test_changed_bytes(const camfit_test::NetworkBuilder& net) {
  Bytes sections[4];
  net.sections(sections);
  for (int s = 1; s < 4; ++s) {
    for (size_t i = 0; i < sections[s].size(); ++i) {
      const uint8_t whole = sections[s][i];
      for (int value : {0, 1, 127, 255, whole ^ 1, whole ^ 16}) {
        sections[s][i] = uint8_t(value);
        load_and_run(assemble(sections), (value & 1) ? CAMFIT_SPEED : CAMFIT_MEMORY);
      }
      sections[s][i] = whole;
    }
  }
}

void test_shortened_sections(const camfit_test::NetworkBuilder& net) {
  Bytes sections[4];
  net.sections(sections);
  for (int s = 1; s < 4; ++s) {
    const Bytes whole = sections[s];
    while (!sections[s].empty()) {
      sections[s].pop_back();
      const int before = loaded;
      load_and_run(assemble(sections), CAMFIT_SPEED);
      CHECK(loaded == before, "section %d cut to %zu bytes was loaded", s, sections[s].size());
    }
    sections[s] = whole;
  }
}

// Whole files at the end of a heap block, so that a sanitizer sees a read past them.
void test_cut_and_flipped_files(const camfit_test::NetworkBuilder& net) {
  const Bytes file = net.file();
  for (size_t size = 0; size < file.size(); ++size) {
    load_and_run(Bytes(file.begin(), file.begin() + long(size)), CAMFIT_SPEED);
  }
  CHECK(loaded == 0, "%d cut files were loaded", loaded);
  for (size_t i = 0; i < file.size(); ++i) {
    Bytes flipped = file;
    flipped[i] ^= uint8_t(1 << i % 8);
    load_and_run(flipped, CAMFIT_SPEED);
  }
  CHECK(loaded == 0, "%d damaged files were loaded", loaded);
}

}  // namespace

int main() {
  const camfit_test::NetworkBuilder net = camfit_test::every_op(1);
  test_cut_and_flipped_files(net);
  test_shortened_sections(net);
  load_and_run(net.file(), CAMFIT_SPEED);
  CHECK(loaded == 1, "the whole file");
  test_changed_bytes(net);
  CHECK(loaded > 100 && refused > 100, "%d loaded, %d refused", loaded, refused);
  return camfit_test::failures ? 1 : 0;
}
