/* All outputs of a packed network, for its bits to be compared:   outputs FILE.camfit IMAGES
 * IMAGES holds raw bytes of one image after the other. Writes float32 to the standard output. */
#include <stdio.h>
#include <stdlib.h>

#include "camfit.h"

static unsigned char* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  unsigned char* bytes = NULL;
  if (file && fseek(file, 0, SEEK_END) == 0) {
    *size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(*size + 1);
    if (bytes && fread(bytes, 1, *size, file) != *size) bytes = NULL;
  }
  if (!bytes) {
    fprintf(stderr, "%s: cannot be read\n", path);
    exit(1);
  }
  fclose(file);
  return bytes;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  size_t size, images_size;
  unsigned char* file = read_file(argv[1], &size);
  unsigned char* images = read_file(argv[2], &images_size);
  camfit_engine* engine;
  char why[CAMFIT_ERROR_BYTES];
  if (camfit_load(file, size, NULL, &engine, why) != CAMFIT_OK) {
    fprintf(stderr, "%s: %s\n", argv[1], why);
    return 1;
  }
  const camfit_shape in = camfit_input_shape(engine), out = camfit_output_shape(engine);
  const size_t pixels = (size_t)in.height * (size_t)in.width * (size_t)in.channels;
  const size_t count = (size_t)out.height * (size_t)out.width * (size_t)out.channels;
  float* scores = malloc(count * sizeof *scores);
  for (size_t at = 0; at + pixels <= images_size; at += pixels) {
    if (!scores || camfit_run_u8(engine, images + at, scores) != CAMFIT_OK) return 1;
    if (fwrite(scores, sizeof *scores, count, stdout) != count) return 1;
  }
  return 0;
}
