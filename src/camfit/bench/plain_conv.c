/* The plain loop: what one writes first, and what a binary convolution is usually compared with. One image, floats,
 * x [channels][height][width], weights [outputs][channels][kernel][kernel], y [outputs][height][width]; zero padding that
 * keeps the size, stride 1. No blocking, no vector instructions but those that the compiler finds, one thread. */
void plain_conv2d(const float* x, const float* weights, float* y, int channels, int height, int width, int outputs,
                  int kernel, int padding) {
  for (int output = 0; output < outputs; ++output) {
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < width; ++column) {
        float sum = 0.0f;
        for (int channel = 0; channel < channels; ++channel) {
          for (int i = 0; i < kernel; ++i) {
            for (int j = 0; j < kernel; ++j) {
              const int r = row + i - padding, c = column + j - padding;
              if (r < 0 || r >= height || c < 0 || c >= width) continue;
              const float weight = weights[((output * channels + channel) * kernel + i) * kernel + j];
              sum += weight * x[(channel * height + r) * width + c];
            }
          }
        }
        y[(output * height + row) * width + column] = sum;
      }
    }
  }
}
