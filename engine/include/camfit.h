/* camfit: runs a packed network (.camfit) straight from its compressed form.
 *
 * One header, C linkage, no dependency. After camfit_load has returned, no call allocates memory.
 * One engine is used by one caller at a time; any number of engines may run at once in different threads.
 *
 *     camfit_engine* engine;
 *     char why[CAMFIT_ERROR_BYTES];
 *     if (camfit_load(bytes, size, NULL, &engine, why)) { puts(why); return 1; }
 *     camfit_run(engine, image_u8, probabilities);
 *     camfit_free(engine);
 */
#ifndef CAMFIT_H
#define CAMFIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAMFIT_ERROR_BYTES 256
#define CAMFIT_FORMAT_VERSION 3 /* the newest that this engine reads; it reads all before */

typedef struct camfit_engine camfit_engine;

typedef enum camfit_status {
  CAMFIT_OK = 0,
  CAMFIT_MALFORMED = 1,   /* the file is damaged, truncated or not a .camfit file */
  CAMFIT_UNSUPPORTED = 2, /* well-formed, but of a newer version or with an op or form that this engine lacks */
  CAMFIT_OUT_OF_MEMORY = 3,
  CAMFIT_BAD_ARGUMENT = 4
} camfit_status;

typedef enum camfit_isa {
  CAMFIT_ISA_AUTO = 0,
  CAMFIT_ISA_PLAIN = 1,
  CAMFIT_ISA_AVX2 = 2,
  CAMFIT_ISA_AVX512 = 3,
  CAMFIT_ISA_NEON = 4 /* 64-bit ARM */
} camfit_isa;

/* SPEED decodes compressed weights once at load where that runs faster, and holds those of 3x3 and 5x5 convolutions
 * transformed where Winograd's way is faster: up to four times as large. MEMORY keeps compressed weights in their stored
 * (entropy-decoded) form and expands small panels at each run. Outputs of the two agree to float rounding: within about
 * 1e-5 of a layer's largest. */
typedef enum camfit_mode { CAMFIT_SPEED = 0, CAMFIT_MEMORY = 1 } camfit_mode;

typedef struct camfit_options {
  int threads; /* 1 or more; 0 means 1 */
  camfit_mode mode;
  camfit_isa isa; /* AUTO takes the best that the processor has; a forced one that it lacks is refused */
} camfit_options;

/* Sizes are in elements. Images are height x width x channels, channels fastest ("HWC"). */
typedef struct camfit_shape {
  int32_t height, width, channels;
} camfit_shape;

typedef struct camfit_memory {
  size_t weights_bytes; /* weights as the engine holds them after load, in the chosen mode */
  size_t arena_bytes;   /* activations: one block, planned at load */
  size_t scratch_bytes; /* per-thread work space of the kernels */
  size_t total_bytes;   /* everything the engine has allocated, the above included */
  size_t load_peak_bytes; /* the most that was held at any moment of camfit_load (the caller's file bytes not counted) */
} camfit_memory;

/* Loads a packed network from memory; `bytes` may be released afterwards. `options` may be NULL (one thread, SPEED,
 * AUTO). On failure *out is NULL and `error` (CAMFIT_ERROR_BYTES long, may be NULL) says what was found and expected. */
camfit_status camfit_load(const void* bytes, size_t size, const camfit_options* options, camfit_engine** out,
                          char* error);
void camfit_free(camfit_engine* engine);

camfit_shape camfit_input_shape(const camfit_engine* engine);
camfit_shape camfit_output_shape(const camfit_engine* engine);

/* Runs one image. `image` holds height*width*channels raw bytes, HWC; the file's own normalisation is applied.
 * `output` receives the output values: for a vector height = width = 1, else HWC. */
camfit_status camfit_run_u8(camfit_engine* engine, const uint8_t* image, float* output);

/* The same for float input on the scale of the training data before normalisation (for images, 0..255). */
camfit_status camfit_run_f32(camfit_engine* engine, const float* image, float* output);

camfit_memory camfit_memory_use(const camfit_engine* engine);
camfit_isa camfit_isa_in_use(const camfit_engine* engine);

/* The INFO section: UTF-8 JSON, not terminated by a zero. */
const char* camfit_info(const camfit_engine* engine, size_t* length);

/* Layers in execution order, for reports. `name` stays valid until camfit_free. `macs` are multiply-accumulates of
 * one image counted on the stored form (zeros that the form skips are not counted). */
typedef struct camfit_layer {
  const char* name;
  const char* op;
  const char* form;       /* "dense", "codebook", "hashed", "sign", "sparse" or "" for a layer without weights */
  size_t stored_bytes;    /* bytes in the file */
  uint64_t params;        /* stored weights: non-zeros where zeros are skipped, buckets where hashed; scale and bias too */
  uint64_t macs;
  uint64_t nanoseconds;   /* last profiled run; 0 before one */
} camfit_layer;
size_t camfit_layer_count(const camfit_engine* engine);
camfit_status camfit_layer_at(const camfit_engine* engine, size_t index, camfit_layer* out);
/* With profiling on, every run also records the time of each layer. Off after load. */
void camfit_profile(camfit_engine* engine, int on);

const char* camfit_version(void);

#ifdef __cplusplus
}
#endif
#endif
