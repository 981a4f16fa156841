/* Classifies a plain PGM image of the network's size: classify IMAGE.pgm. The network was exported as `model`. */
#include <stdio.h>

#include "model.h"

int main(int argc, char **argv) {
  static uint8_t image[MODEL_INPUT_SIZE];
  float scores[MODEL_OUTPUT_SIZE];
  int width, height, largest, value, i, best = 0;
  FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;

  if (!file || fscanf(file, "P2 %d %d %d", &width, &height, &largest) != 3 || width != MODEL_INPUT_WIDTH ||
      height != MODEL_INPUT_HEIGHT || MODEL_INPUT_CHANNELS != 1 || largest != 255) {
    fprintf(stderr, "expected one plain PGM image of %d x %d grey pixels, 0 to 255\n", MODEL_INPUT_WIDTH,
            MODEL_INPUT_HEIGHT);
    return 1;
  }
  for (i = 0; i < MODEL_INPUT_SIZE; ++i) {
    if (fscanf(file, "%d", &value) != 1 || value < 0 || value > 255) return 1;
    image[i] = (uint8_t)value;
  }
  fclose(file);

  model_run(image, scores);
  for (i = 1; i < MODEL_OUTPUT_SIZE; ++i)
    if (scores[i] > scores[best]) best = i;
  printf("%s (%.3f)\n", model_classes[best], (double)scores[best]);
  return 0;
}
