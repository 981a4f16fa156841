#include <stdint.h>
#include <string.h>

#include "range.h"
#include "window.h"

/* One row of a pool's output, and the rows of the convolution's that it reads and `rows` does not hold yet. */
typedef struct {
  window conv, pool;
  int32_t in;   /* where the convolution's first input row is */
  int32_t out;  /* where in `rows` its first output row goes */
} pool_band;

static window rows_of(const window *w, int32_t first, int32_t last, int32_t *in) {
  const int32_t top = first * w->stride_h - w->pad_top, skipped = top > 0 ? top : 0;
  window part = *w;
  part.in_h -= skipped;
  part.pad_top = skipped - top;
  part.out_h = last - first;
  *in = skipped * w->in_w * w->in_c;
  return part;
}

static range rows_read(const window *pool, int32_t row) {
  range r;
  r.first = row * pool->stride_h - pool->pad_top;
  r.last = r.first + pool->kernel_h;
  if (r.first < 0) r.first = 0;
  if (r.last > pool->in_h) r.last = pool->in_h;
  return r;
}

/* Behind the band of the row before; what windows that overlap read again moves to the front of `rows`. */
static pool_band next_band(const window *conv, const window *pool, int32_t row, uint8_t *rows) {
  const int32_t of_row = pool->in_w * pool->in_c;
  const range wanted = rows_read(pool, row);
  int32_t kept = 0, unused;
  pool_band band;
  if (row > 0) {
    const range before = rows_read(pool, row - 1);
    if (before.last > wanted.first) {
      kept = before.last - wanted.first;
      memmove(rows, rows + (wanted.first - before.first) * of_row, (size_t)(kept * of_row));
    }
  }
  band.conv = rows_of(conv, wanted.first + kept, wanted.last, &band.in);
  band.pool = rows_of(pool, row, row + 1, &unused);
  band.out = kept * of_row;
  return band;
}
