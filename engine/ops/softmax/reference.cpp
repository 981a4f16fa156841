#include "../plain.h"
#include "exp.h"

namespace camfit {
namespace plain {

void softmax(const float* in, float* out, int count) {
  float largest = in[0];
  for (int i = 1; i < count; ++i) largest = in[i] > largest ? in[i] : largest;
  float sum = 0.0f;
  for (int i = 0; i < count; ++i) sum += out[i] = exp_of(in[i] - largest);
  for (int i = 0; i < count; ++i) out[i] /= sum;
}

}  // namespace plain
}  // namespace camfit
