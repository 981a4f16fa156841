// Sparse rows to the forms that are faster to multiply by: chunks, blocks, tiles (kernels.h). Portable, at load. Each
// form is counted first, so that the caller can weigh them and provide the room. Columns ascend within a row.
#pragma once
#include "kernels.h"

namespace camfit {

// A sparse matrix, rows x columns, that is to be regrouped.
struct SparseMatrix {
  SparseRows rows;
  int height, width;
};

inline uint32_t column_of(const SparseRows& rows, size_t e) {
  return rows.column16 ? static_cast<const uint16_t*>(rows.column)[e] : static_cast<const uint32_t*>(rows.column)[e];
}
inline float value_of(const SparseRows& rows, size_t e) { return rows.codebook[rows.code ? rows.code[e] : e]; }

// `codes`, at most 256: as many as there may be. `begin`: [blocks of kChunkColumns * height + 1]. `counts`: [height][blocks]
// [codes], of the entries of each code. Returns the number of chunks.
uint64_t count_chunks(const SparseMatrix&, uint32_t codes, uint32_t* begin, uint16_t* counts);
void fill_chunks(const SparseMatrix&, uint32_t codes, const uint32_t* begin, const uint16_t* counts, uint16_t* column,
                 uint8_t* code);

// `begin`, where not null: [row blocks + 1]. Returns the number of entries, without `begin` those of every step-th block.
uint64_t count_blocks(const SparseMatrix&, uint32_t* begin, int step = 1);
// Either values or codes, the latter with `shift` added to those of the matrix; rows that an entry skips have code 0.
void fill_blocks(const SparseMatrix&, uint32_t* column, float* value, uint32_t* codes, uint32_t shift);

// Words of the tiles, and `rest`: the number of entries that find no place.
uint64_t tile_words(const SparseMatrix&);
uint64_t count_rest(const SparseMatrix&);
void fill_tiles(const SparseMatrix&, uint32_t* word, uint32_t* rest_begin, uint16_t* rest_column, uint16_t* rest_code);

}  // namespace camfit
