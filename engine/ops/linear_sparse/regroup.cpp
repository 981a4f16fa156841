#include "linear_sparse/regroup.h"

#include <cstring>

namespace camfit {
namespace {

int ceil_of(int a, int b) { return (a + b - 1) / b; }

// The entries of a row in a block of columns, one past the other: advances `e`.
bool in_block(const SparseMatrix& m, int row, uint64_t block_end, size_t e) {
  return e < m.rows.row_begin[row + 1] && column_of(m.rows, e) < block_end;
}

// Where the entries of a row end whose columns are below `column`; `e`: one of the row's, or their end.
size_t end_of_block(const SparseMatrix& m, int row, uint64_t column, size_t e) {
  size_t end = m.rows.row_begin[row + 1];
  while (e < end) {
    const size_t middle = e + (end - e) / 2;
    if (column_of(m.rows, middle) < column) {
      e = middle + 1;
    } else {
      end = middle;
    }
  }
  return end;
}

// Visits the entries of blocks: visit(block, column, entries of its rows or UINT32_MAX).
template <class Visit>
void visit_blocks(const SparseMatrix& m, const Visit& visit) {
  for (int first = 0; first < m.height; first += kBlockRows) {
    const int lanes = m.height - first < kBlockRows ? m.height - first : kBlockRows;
    uint32_t at[kBlockRows];
    for (int lane = 0; lane < lanes; ++lane) at[lane] = m.rows.row_begin[first + lane];
    for (;;) {
      uint32_t next = UINT32_MAX, entry[kBlockRows];
      for (int lane = 0; lane < lanes; ++lane) {
        if (at[lane] == m.rows.row_begin[first + lane + 1]) continue;
        const uint32_t column = column_of(m.rows, at[lane]);
        if (column < next) next = column;
      }
      if (next == UINT32_MAX) break;
      for (int lane = 0; lane < kBlockRows; ++lane) {
        const bool has = lane < lanes && at[lane] < m.rows.row_begin[first + lane + 1] &&
                         column_of(m.rows, at[lane]) == next;
        entry[lane] = has ? at[lane]++ : UINT32_MAX;
      }
      visit(first / kBlockRows, next, entry);
    }
  }
}

// Visits the entries of a row: visit(column tile, place, entry).
template <class Visit>
void visit_places(const SparseMatrix& m, int row, const Visit& visit) {
  uint32_t tile = 0;
  int place = 0;
  for (uint32_t e = m.rows.row_begin[row]; e < m.rows.row_begin[row + 1]; ++e, ++place) {
    const uint32_t of = column_of(m.rows, e) / kTileColumns;
    if (of != tile) place = 0;
    tile = of;
    visit(tile, place, e);
  }
}

}  // namespace

uint64_t count_chunks(const SparseMatrix& m, uint32_t codes, uint32_t* begin, uint16_t* counts) {
  const int blocks = ceil_of(m.width, kChunkColumns);
  uint64_t chunks = 0;
  // Neighbours are counted apart: a count that has just been stored takes its time to be loaded.
  constexpr size_t kApart = 4;
  uint16_t apart[kApart][256] = {};
  for (int row = 0; row < m.height; ++row) {
    size_t e = m.rows.row_begin[row];
    for (int block = 0; block < blocks; ++block, counts += codes) {
      const size_t end = end_of_block(m, row, uint32_t(block + 1) * kChunkColumns, e);
      for (; e + kApart <= end; e += kApart)
        for (size_t i = 0; i < kApart; ++i) ++apart[i][m.rows.code[e + i]];
      for (; e < end; ++e) ++apart[0][m.rows.code[e]];
      uint32_t of_row = 0;
      for (uint32_t of = 0; of < codes; ++of) {
        counts[of] = uint16_t(apart[0][of] + apart[1][of] + apart[2][of] + apart[3][of]);
        for (uint16_t(&count)[256] : apart) count[of] = 0;
        of_row += (counts[of] + 3u) / 4;
      }
      of_row += of_row % 2;
      begin[size_t(block) * m.height + row] = of_row;
      chunks += of_row;
    }
  }
  uint32_t sum = 0;
  for (size_t s = 0; s < size_t(blocks) * m.height; ++s) {
    const uint32_t count = begin[s];
    begin[s] = sum;
    sum += count;
  }
  begin[size_t(blocks) * m.height] = sum;
  return chunks;
}

// A counting sort of each row's entries in a block: without a branch at each, which no processor could foresee.
void fill_chunks(const SparseMatrix& m, uint32_t codes, const uint32_t* begin, const uint16_t* counts, uint16_t* column,
                 uint8_t* code) {
  const int blocks = ceil_of(m.width, kChunkColumns);
  for (int row = 0; row < m.height; ++row) {
    size_t e = m.rows.row_begin[row];
    for (int block = 0; block < blocks; ++block, counts += codes) {
      const uint32_t* range = begin + size_t(block) * m.height + row;
      uint32_t place[256], chunk = range[0];
      size_t end = e;
      for (uint32_t of = 0; of < codes; ++of) {
        const uint32_t last = chunk + (counts[of] + 3u) / 4;
        place[of] = 4 * chunk;
        for (uint32_t i = place[of] + counts[of]; i < 4 * last; ++i) column[i] = kChunkColumns;
        for (; chunk < last; ++chunk) code[chunk] = uint8_t(of);
        end += counts[of];
      }
      if (chunk < range[1]) {  // their number is to be even
        for (uint32_t i = 4 * chunk; i < 4 * range[1]; ++i) column[i] = kChunkColumns;
        code[chunk] = 0;
      }
      const uint32_t from = uint32_t(block) * kChunkColumns;
      for (; e < end; ++e) column[place[m.rows.code[e]]++] = uint16_t(column_of(m.rows, e) - from);
    }
  }
}

uint64_t count_blocks(const SparseMatrix& m, uint32_t* begin, int step) {
  constexpr uint32_t kWords = 64, kAtOnce = 64 * kWords;  // columns that are looked at together
  uint64_t entries = 0;
  for (int first = 0; first < m.height; first += step * kBlockRows) {
    if (begin) begin[first / kBlockRows] = uint32_t(entries);
    const int lanes = m.height - first < kBlockRows ? m.height - first : kBlockRows;
    uint32_t at[kBlockRows];
    for (int lane = 0; lane < lanes; ++lane) at[lane] = m.rows.row_begin[first + lane];
    for (uint32_t column = 0; column < uint32_t(m.width); column += kAtOnce) {
      uint64_t seen[kWords] = {};
      for (int lane = 0; lane < lanes; ++lane) {
        for (; in_block(m, first + lane, uint64_t(column) + kAtOnce, at[lane]); ++at[lane]) {
          const uint32_t bit = column_of(m.rows, at[lane]) - column;
          entries += ~seen[bit / 64] >> bit % 64 & 1;
          seen[bit / 64] |= uint64_t(1) << bit % 64;
        }
      }
    }
  }
  if (begin) begin[ceil_of(m.height, kBlockRows)] = uint32_t(entries);
  return entries;
}

void fill_blocks(const SparseMatrix& m, uint32_t* column, float* value, uint32_t* codes, uint32_t shift) {
  visit_blocks(m, [&](int, uint32_t j, const uint32_t* entry) {
    *column++ = j;
    uint32_t packed = 0;
    for (int lane = 0; lane < kBlockRows; ++lane) {
      const bool has = entry[lane] != UINT32_MAX;
      if (value) {
        *value++ = has ? value_of(m.rows, entry[lane]) : 0.0f;
      } else if (has) {
        packed |= (m.rows.code[entry[lane]] + shift) << 4 * lane;
      }
    }
    if (!value) *codes++ = packed;
  });
}

uint64_t tile_words(const SparseMatrix& m) {
  return uint64_t(ceil_of(m.height, kTileRows)) * uint64_t(ceil_of(m.width, kTileColumns)) *
         (kTileEntries / 3 * kTileRows);
}

uint64_t count_rest(const SparseMatrix& m) {
  uint64_t rest = 0;
  for (int row = 0; row < m.height; ++row) {
    visit_places(m, row, [&](uint32_t, int place, uint32_t) { rest += place >= kTileEntries; });
  }
  return rest;
}

void fill_tiles(const SparseMatrix& m, uint32_t* word, uint32_t* rest_begin, uint16_t* rest_column,
                uint16_t* rest_code) {
  const size_t tiles = size_t(ceil_of(m.width, kTileColumns)), words = kTileEntries / 3 * kTileRows;
  std::memset(word, 0, size_t(tile_words(m)) * sizeof *word);
  uint32_t rest = 0;
  for (int row = 0; row < m.height; ++row) {
    rest_begin[row] = rest;
    uint32_t* of_row = word + size_t(row / kTileRows) * tiles * words + row % kTileRows;
    visit_places(m, row, [&](uint32_t tile, int place, uint32_t e) {
      const uint32_t column = column_of(m.rows, e), code = m.rows.code[e] + 1u;
      if (place < kTileEntries) {
        of_row[tile * words + size_t(place / 3) * kTileRows] |= (column % kTileColumns | code << 5) << 10 * (place % 3);
      } else {
        rest_column[rest] = uint16_t(column);
        rest_code[rest++] = uint16_t(code);
      }
    });
  }
  rest_begin[m.height] = rest;
}

}  // namespace camfit
