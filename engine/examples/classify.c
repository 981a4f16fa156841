/* Classifies one image with a packed network:   classify FILE.camfit IMAGE [auto|plain|avx2|avx512|neon]
 * IMAGE holds raw bytes, height x width x channels, as the network was trained on. Prints the five largest outputs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "camfit.h"

static void* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  unsigned char* bytes = NULL;
  size_t room = 0;
  *size = 0;
  while (file && *size == room) {
    unsigned char* more = realloc(bytes, room = 2 * room + 4096);
    if (!more) break;
    bytes = more;
    *size += fread(bytes + *size, 1, room - *size, file);
  }
  if (!file || ferror(file) || *size == room) {
    fprintf(stderr, "%s: cannot be read\n", path);
    exit(1);
  }
  fclose(file);
  return bytes;
}

int main(int argc, char** argv) {
  static const char* const sets[] = {"auto", "plain", "avx2", "avx512", "neon"}; /* in the order of camfit_isa */
  camfit_options options = {1, CAMFIT_SPEED, CAMFIT_ISA_AUTO};
  int set = 0;
  while (argc == 4 && set < 5 && strcmp(argv[3], sets[set]) != 0) ++set;
  if (argc < 3 || argc > 4 || set == 5) {
    fprintf(stderr, "usage: classify FILE.camfit IMAGE [auto|plain|avx2|avx512|neon]\n");
    return 2;
  }
  options.isa = (camfit_isa)set;

  size_t size, image_size;
  void* file = read_file(argv[1], &size);
  void* image = read_file(argv[2], &image_size);
  camfit_engine* engine;
  char why[CAMFIT_ERROR_BYTES];
  if (camfit_load(file, size, &options, &engine, why) != CAMFIT_OK) {
    fprintf(stderr, "%s: %s\n", argv[1], why);
    return 1;
  }
  free(file);
  const camfit_shape in = camfit_input_shape(engine), out = camfit_output_shape(engine);
  if (image_size != (size_t)in.height * (size_t)in.width * (size_t)in.channels) {
    fprintf(stderr, "%s: %lu bytes, the network takes %dx%dx%d\n", argv[2], (unsigned long)image_size, (int)in.height,
            (int)in.width, (int)in.channels);
    return 1;
  }
  const size_t count = (size_t)out.height * (size_t)out.width * (size_t)out.channels;
  float* scores = malloc(count * sizeof *scores);
  if (!scores || camfit_run_u8(engine, image, scores) != CAMFIT_OK) return 1;
  printf("%s\n", sets[camfit_isa_in_use(engine)]);
  for (size_t place = 0; place < 5 && place < count; ++place) {
    size_t best = count;
    for (size_t i = 0; i < count; ++i)
      if (!isnan(scores[i]) && (best == count || scores[i] > scores[best])) best = i;
    if (best == count) break;
    printf("%lu %.9g\n", (unsigned long)best, scores[best]);
    scores[best] = NAN; /* done with */
  }
  free(scores);
  free(image);
  camfit_free(engine);
  return 0;
}
