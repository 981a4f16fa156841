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

// A panel of full rows, column by column: 16 rows are read side by side, and the panel is written in one sweep.
// value(lane, j) is the weight of row `lane` in column j.
template <class Value>
void fill_columns(const MatrixSource& source, int lanes, float* out, const Value& value) {
  size_t j = 0;
  for (int channel = 0; channel < source.cin_group; ++channel) {
    float* to = out + size_t(channel) * kPanel;
    for (int position = 0; position < source.kernel; ++position, ++j, to += size_t(source.cin_group) * kPanel) {
      if (lanes == kPanel) {
        for (int lane = 0; lane < kPanel; ++lane) to[lane] = value(lane, j);
      } else {
        for (int lane = 0; lane < lanes; ++lane) to[lane] = value(lane, j);
      }
    }
  }
}

void fill_dense(const MatrixSource& source, int row, int lanes, size_t columns, float* out) {
  const uint8_t* from[kPanel] = {};
  for (int lane = 0; lane < lanes; ++lane) from[lane] = source.dense + size_t(row + lane) * columns * 4;
  fill_columns(source, lanes, out, [&](int lane, size_t j) { return load_f32(from[lane] + 4 * j); });
}

void fill_bytes(const MatrixSource& source, int row, int lanes, size_t columns, float* out) {
  const float* codebook = source.sparse.codebook;
  const uint8_t* from[kPanel] = {};
  for (int lane = 0; lane < lanes; ++lane) from[lane] = source.bytes + size_t(row + lane) * columns;
  fill_columns(source, lanes, out, [&](int lane, size_t j) { return codebook[from[lane][j]]; });
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

// Eight columns at a time: their bits of every lane, then one column of the panel after the other.
void fill_signs(const MatrixSource& source, int row, int lanes, size_t columns, float* out) {
  constexpr size_t kBits = 8;
  const size_t bytes = (size_t(source.cout) * columns + 7) / 8;
  uint32_t alpha[kPanel] = {}, bits[kPanel] = {};
  std::memcpy(alpha, source.alpha + row, size_t(lanes) * sizeof *alpha);
  Place place{source.kernel, source.cin_group};
  for (size_t j = 0; j < columns; j += kBits) {
    for (int lane = 0; lane < lanes; ++lane) {
      const size_t bit = size_t(row + lane) * columns + j, byte = bit / 8;
      const uint32_t next = byte + 1 < bytes ? source.signs[byte + 1] : 0u;
      bits[lane] = ~((source.signs[byte] | next << 8) >> bit % 8);  // a 0 turns the sign
    }
    const size_t count = columns - j < kBits ? columns - j : kBits;
    for (size_t k = 0; k < count; ++k) {
      uint32_t values[kPanel];
      for (int lane = 0; lane < kPanel; ++lane) values[lane] = alpha[lane] ^ bits[lane] >> k << 31;
      std::memcpy(out + place.next(), values, sizeof values);
    }
  }
}

}  // namespace

void fill_panel(const MatrixSource& source, const Kernels& kernels, int panel, float* out) {
  const int group_rows = source.cout / source.groups, per_group = panels_of_group(source);
  const int first = panel % per_group * kPanel;
  const int lanes = group_rows - first < kPanel ? group_rows - first : kPanel;
  const int first_row = panel / per_group * group_rows + first;
  const size_t columns = size_t(source.kernel) * size_t(source.cin_group);
  const bool skips_zeros = source.form == Form::kSparse || (source.form == Form::kCodebook && !source.bytes);
  if (lanes < kPanel || skips_zeros) std::memset(out, 0, panel_floats(source) * sizeof(float));
  switch (source.form) {
    case Form::kDense: fill_dense(source, first_row, lanes, columns, out); break;
    case Form::kCodebook:
    case Form::kSparse:
      if (source.bytes) {
        fill_bytes(source, first_row, lanes, columns, out);
      } else {
        for (int lane = 0; lane < lanes; ++lane) fill_sparse(source, first_row + lane, out + lane);
      }
      break;
    case Form::kHashed:
      for (int lane = 0; lane < lanes; ++lane) fill_hashed(source, kernels, first_row + lane, columns, out + lane);
      break;
    case Form::kSign: fill_signs(source, first_row, lanes, columns, out); break;
    case Form::kHalf: break;  // vectors only
  }
}

}  // namespace camfit
