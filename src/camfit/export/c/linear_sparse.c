#include <stdint.h>

#include "finish.c"
#include "sparse_stream.c"

static void linear_sparse(int32_t outputs, const sparse_matrix *weights, const epilogue *e, const float *in,
                          float *out) {
  sparse_reader reader;
  int32_t o, i, value;
  open_stream(&reader, weights);
  for (o = 0; o < outputs; ++o) {
    float sum = 0.0f;
    while (next_in_row(&reader, &i, &value)) sum += in[i] * weights->values[value];
    out[o] = finish(sum, e, o);
  }
}
