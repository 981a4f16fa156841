/* camfit.h from C: it compiles as C99, links, and refuses what it must without touching anything else. */
#include <stdio.h>
#include <string.h>

#include "camfit.h"

static int failures = 0;

static void check(int ok, const char* what) {
  if (!ok) {
    ++failures;
    printf("FAILED %s\n", what);
  }
}

int main(void) {
  static const unsigned char bytes[200] = {0x89, 'c', 'a', 'm', 'f', 'i', 't', '\n', 9, 0};
  camfit_options options = {1, CAMFIT_SPEED, CAMFIT_ISA_AUTO};
  camfit_engine* engine = (camfit_engine*)&options;
  char why[CAMFIT_ERROR_BYTES];
  float value = 0;

  check(camfit_load(bytes, 4, NULL, &engine, why) == CAMFIT_MALFORMED, "four bytes");
  check(engine == NULL, "no engine");
  check(strncmp(why, "header: not a .camfit file", 26) == 0, why);
  check(camfit_load(bytes, sizeof bytes, &options, &engine, why) == CAMFIT_UNSUPPORTED, "version 9");
  check(strcmp(why, "header: format version 9, this engine reads 1 to 3") == 0, why);
  check(camfit_load(bytes, sizeof bytes, &options, &engine, NULL) == CAMFIT_UNSUPPORTED, "no place for a message");
  check(camfit_load(NULL, 0, &options, &engine, why) == CAMFIT_BAD_ARGUMENT, "no bytes");
  check(camfit_load(bytes, sizeof bytes, &options, NULL, why) == CAMFIT_BAD_ARGUMENT, "no place for the engine");
  options.threads = -1;
  check(camfit_load(bytes, sizeof bytes, &options, &engine, why) == CAMFIT_BAD_ARGUMENT, "-1 threads");
  options.threads = 1;
  options.isa = (camfit_isa)77;
  check(camfit_load(bytes, sizeof bytes, &options, &engine, why) == CAMFIT_BAD_ARGUMENT, "unknown instruction set");
  check(camfit_run_u8(NULL, bytes, &value) == CAMFIT_BAD_ARGUMENT, "no engine to run");
  check(camfit_run_f32(NULL, &value, &value) == CAMFIT_BAD_ARGUMENT, "no engine to run");
  check(camfit_layer_at(NULL, 0, NULL) == CAMFIT_BAD_ARGUMENT, "no engine to look at");
  check(strlen(camfit_version()) >= 5, "version");
  camfit_free(NULL);
  return failures ? 1 : 0;
}
