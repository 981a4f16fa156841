#include <stdint.h>

#include "int8_store.c"
#include "sparse_stream.c"

static void int8_linear_sparse(int32_t outputs, const sparse_matrix *weights, const int8_layer *l, const uint8_t *in,
                               uint8_t *out) {
  sparse_reader reader;
  int32_t o, i, value;
  open_stream(&reader, weights);
  for (o = 0; o < outputs; ++o) {
    int32_t sum = bias_of(l, o);
    while (next_in_row(&reader, &i, &value)) sum += (in[i] - l->in_zero) * weights->integers[value];
    int8_store(sum, l, o, out, o);
  }
}
