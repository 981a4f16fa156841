#include <stdint.h>

/* The weights of a matrix [rows, columns] that are not pruned, in row-major order, as a stream of bits, the least
 * significant bit of each byte first: gap_bits of gap, then code_bits of code. An entry lies gap + 1 behind the one
 * before it (the first: at gap); the largest gap stands alone, without a code, and skips as many weights. Without
 * gap_bits nothing is pruned. A code is an index into `values` or, of an integer layer, `integers`; without code_bits
 * entry i has value i. */
typedef struct {
  const uint8_t *stream;
  const float *values;
  const int8_t *integers;
  int32_t entries;
  int32_t columns;
  uint8_t gap_bits, code_bits;
} sparse_matrix;

typedef struct {
  const sparse_matrix *matrix;
  const uint8_t *at;
  uint32_t window;
  uint32_t held;  /* bits in the window */
  int32_t left;   /* entries that have not been read */
  int32_t column; /* of the next entry, counted from the start of the row at hand */
  int32_t entry;
} sparse_reader;

static uint32_t read_bits(sparse_reader *r, uint32_t count) {
  uint32_t value;
  while (r->held < count) {
    r->window |= (uint32_t)*r->at++ << r->held;
    r->held += 8;
  }
  value = r->window & ((1u << count) - 1u);
  r->window >>= count;
  r->held -= count;
  return value;
}

/* Moves on to the next entry, if there is one. */
static void next_position(sparse_reader *r) {
  const uint32_t bits = r->matrix->gap_bits, skip = (1u << bits) - 1u;
  uint32_t gap;
  if (bits == 0 || r->left == 0) return;
  while ((gap = read_bits(r, bits)) == skip) r->column += (int32_t)skip;
  r->column += (int32_t)gap;
}

static void open_stream(sparse_reader *r, const sparse_matrix *matrix) {
  r->matrix = matrix;
  r->at = matrix->stream;
  r->window = r->held = 0;
  r->left = matrix->entries;
  r->column = r->entry = 0;
  next_position(r);
}

/* The next entry of the row at hand: 1 with its column and the index of its value, or 0 at the row's end, which begins
 * the next row. */
static int next_in_row(sparse_reader *r, int32_t *column, int32_t *value) {
  if (r->left == 0 || r->column >= r->matrix->columns) {
    r->column -= r->matrix->columns;
    return 0;
  }
  *column = r->column;
  *value = r->matrix->code_bits ? (int32_t)read_bits(r, r->matrix->code_bits) : r->entry;
  ++r->entry;
  ++r->column;
  --r->left;
  next_position(r);
  return 1;
}
