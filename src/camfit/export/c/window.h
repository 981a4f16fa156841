#include <stdint.h>

/* Geometry of a convolution or a pool; images are height x width x channels, channels fastest. */
typedef struct {
  int32_t in_h, in_w, in_c, out_h, out_w, out_c;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups;
} window;
