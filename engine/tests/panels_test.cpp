// Panels from every form of weights: each value at its place, zeros past the end of a group.
#include "panels.h"

#include <cstring>
#include <random>
#include <vector>

#include "checks.h"

namespace {

using namespace camfit;

struct Geometry {
  int cout, cin_group, kernel, groups;
};

MatrixSource source_of(Form form, const Geometry& g) {
  MatrixSource source = MatrixSource();
  source.form = form;
  source.cout = g.cout;
  source.cin_group = g.cin_group;
  source.kernel = g.kernel;
  source.groups = g.groups;
  return source;
}

// `matrix`: [cout][cin_group * kernel] as a file orders it, (channel, kernel position).
void check(const MatrixSource& source, const std::vector<float>& matrix, const char* form) {
  const int per_group = panels_of_group(source), group_rows = source.cout / source.groups;
  const int columns = source.cin_group * source.kernel;
  for (int panel = 0; panel < panel_count(source); ++panel) {
    std::vector<float> given(panel_floats(source), 1e30f);
    fill_panel(source, plain_kernels(), panel, given.data());
    for (int k = 0; k < source.kernel; ++k) {
      for (int c = 0; c < source.cin_group; ++c) {
        for (int lane = 0; lane < kPanel; ++lane) {
          const int row = panel % per_group * kPanel + lane;
          const size_t place = size_t(panel / per_group * group_rows + row) * size_t(columns);
          const float wanted = row < group_rows ? matrix[place + size_t(c * source.kernel + k)] : 0.0f;
          const float value = given[size_t((k * source.cin_group + c) * kPanel + lane)];
          CHECK(value == wanted, "%s panel %d, kernel %d, channel %d, lane %d: %g, expected %g", form, panel, k, c,
                lane, double(value), double(wanted));
        }
      }
    }
  }
}

void test(const Geometry& g, std::mt19937& random) {
  const int columns = g.cin_group * g.kernel;
  const size_t count = size_t(g.cout) * size_t(columns);
  const auto number = [&random] { return float(int32_t(random())) * 0x1p-31f; };

  std::vector<float> matrix(count);
  for (float& value : matrix) value = number();
  std::vector<uint8_t> bytes(4 * count + 1);  // shifted by one byte: a payload lies anywhere
  std::memcpy(bytes.data() + 1, matrix.data(), 4 * count);
  MatrixSource source = source_of(Form::kDense, g);
  source.dense = bytes.data() + 1;
  check(source, matrix, "dense");

  // Columns of a held sparse matrix are in panel order.
  std::vector<uint32_t> begin = {0}, wide;
  std::vector<uint16_t> narrow, code;
  std::vector<float> values, codebook = {number(), number(), number()}, from_codes(count), from_values(count);
  for (int row = 0; row < g.cout; ++row) {
    for (int j = 0; j < columns; ++j) {
      if (random() % 3) continue;
      wide.push_back(uint32_t(j % g.kernel * g.cin_group + j / g.kernel));
      narrow.push_back(uint16_t(wide.back()));
      code.push_back(uint16_t(random() % 3));
      values.push_back(number());
      from_codes[size_t(row * columns + j)] = codebook[code.back()];
      from_values[size_t(row * columns + j)] = values.back();
    }
    begin.push_back(uint32_t(wide.size()));
  }
  for (bool column16 : {false, true}) {
    const void* column = column16 ? static_cast<const void*>(narrow.data()) : wide.data();
    source = source_of(Form::kCodebook, g);
    source.sparse = SparseRows{begin.data(), column, column16, code.data(), codebook.data()};
    check(source, from_codes, "codebook");
    source = source_of(Form::kSparse, g);
    source.sparse = SparseRows{begin.data(), column, column16, nullptr, nullptr};
    source.values = values.data();
    check(source, from_values, "sparse");
  }

  source = source_of(Form::kHashed, g);
  source.hashed = HashedRows{codebook.data(), 3, uint32_t(random()), uint32_t(columns), true};
  for (int row = 0; row < g.cout; ++row) {
    plain_kernels().hashed_row(source.hashed, uint32_t(row), Range{0, columns}, matrix.data() + size_t(row * columns));
  }
  check(source, matrix, "hashed");

  std::vector<float> alpha(size_t(g.cout));
  for (float& scale : alpha) scale = number();
  std::vector<uint8_t> signs((count + 7) / 8);
  for (size_t i = 0; i < count; ++i) {
    const bool positive = random() & 1;
    signs[i / 8] = uint8_t(signs[i / 8] | int(positive) << i % 8);
    const float scale = alpha[i / size_t(columns)];
    matrix[i] = positive ? scale : -scale;
  }
  source = source_of(Form::kSign, g);
  source.alpha = alpha.data();
  source.signs = signs.data();
  check(source, matrix, "sign");
}

}  // namespace

int main() {
  std::mt19937 random(1);
  for (const Geometry& geometry : {Geometry{1, 1, 1, 1}, Geometry{16, 3, 4, 1}, Geometry{37, 5, 3, 1},
                                   Geometry{36, 2, 9, 3}, Geometry{7, 1, 9, 7}, Geometry{3, 300, 2, 1}}) {
    test(geometry, random);
  }
  return camfit_test::failures ? 1 : 0;
}
