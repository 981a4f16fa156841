#include <stdint.h>

/* first..last-1 along one axis. */
typedef struct {
  int32_t first, last;
} range;
