#include "panels.h"

#include <cstring>

#include "cursor.h"

namespace camfit {
namespace {

// Walks the columns of one row in file order (channel, then kernel position) and knows each one's place in the panel.
struct Place {
  int kernel, cin_group;
  int channel = 0, position = 0;

  size_t next() {
    const size_t place = (size_t(position) * size_t(cin_group) + size_t(channel)) * kPanel;
    if (++position == kernel) {
      position = 0;
      ++channel;
    }
    return place;
  }
};

void fill_dense(const MatrixSource& source, int row, size_t columns, float* lane) {
  Place place{source.kernel, source.cin_group};
  const uint8_t* value = source.dense + size_t(row) * columns * 4;
  for (size_t j = 0; j < columns; ++j, value += 4) lane[place.next()] = load_f32(value);
}

template <class Column>
void fill_sparse(const MatrixSource& source, const Column* column, int row, float* lane) {
  const SparseRows& rows = source.sparse;
  const uint32_t begin = rows.row_begin[row], end = rows.row_begin[row + 1];
  if (source.form == Form::kSparse) {
    for (uint32_t e = begin; e < end; ++e) lane[size_t(column[e]) * kPanel] = source.values[e];
  } else {
    for (uint32_t e = begin; e < end; ++e) lane[size_t(column[e]) * kPanel] = rows.codebook[rows.code[e]];
  }
}

void fill_sparse(const MatrixSource& source, int row, float* lane) {
  if (source.sparse.column16) {
    fill_sparse(source, static_cast<const uint16_t*>(source.sparse.column), row, lane);
  } else {
    fill_sparse(source, static_cast<const uint32_t*>(source.sparse.column), row, lane);
  }
}

void fill_hashed(const MatrixSource& source, const Kernels& kernels, int row, size_t columns, float* lane) {
  constexpr size_t kPiece = 256;
  float piece[kPiece];
  Place place{source.kernel, source.cin_group};
  for (size_t begin = 0; begin < columns; begin += kPiece) {
    const size_t end = begin + kPiece < columns ? begin + kPiece : columns;
    kernels.hashed_row(source.hashed, uint32_t(row), Range{int(begin), int(end)}, piece);
    for (size_t j = begin; j < end; ++j) lane[place.next()] = piece[j - begin];
  }
}

void fill_signs(const MatrixSource& source, int row, size_t columns, float* lane) {
  Place place{source.kernel, source.cin_group};
  const float alpha = source.alpha[row];
  size_t bit = size_t(row) * columns;
  for (size_t j = 0; j < columns; ++j, ++bit) {
    lane[place.next()] = source.signs[bit / 8] >> bit % 8 & 1 ? alpha : -alpha;
  }
}

}  // namespace

void fill_panel(const MatrixSource& source, const Kernels& kernels, int panel, float* out) {
  const int group_rows = source.cout / source.groups, per_group = panels_of_group(source);
  const int first = panel % per_group * kPanel;
  const int lanes = group_rows - first < kPanel ? group_rows - first : kPanel;
  const int first_row = panel / per_group * group_rows + first;
  const size_t columns = size_t(source.kernel) * size_t(source.cin_group);
  const bool skips_zeros = source.form == Form::kCodebook || source.form == Form::kSparse;
  if (lanes < kPanel || skips_zeros) std::memset(out, 0, panel_floats(source) * sizeof(float));
  for (int lane = 0; lane < lanes; ++lane) {
    switch (source.form) {
      case Form::kDense: fill_dense(source, first_row + lane, columns, out + lane); break;
      case Form::kCodebook:
      case Form::kSparse: fill_sparse(source, first_row + lane, out + lane); break;
      case Form::kHashed: fill_hashed(source, kernels, first_row + lane, columns, out + lane); break;
      case Form::kSign: fill_signs(source, first_row + lane, columns, out + lane); break;
      case Form::kHalf: break;  // vectors only
    }
  }
}

}  // namespace camfit
