// Panels (see kernels.h) from weights of any form: all of them at load, or one at a time at each run.
#pragma once
#include "kernels.h"
#include "network.h"

namespace camfit {

// A weight matrix [rows = cout, columns = cin/groups · kernel] in the form it is held in.
struct MatrixSource {
  Form form;
  int cout, cin_group, kernel, groups;  // kernel: kernel_h · kernel_w

  const uint8_t* dense;   // dense: f32, little-endian, row-major, anywhere in memory
  SparseRows sparse;      // codebook, sparse; its columns are already in panel order, (kernel, channel)
  const uint8_t* bytes;   // codebook: all codes, row-major as in the file; null where the rows of `sparse` hold them
  const float* values;    // sparse: the value of each entry; sparse.code and sparse.codebook are then not used
  HashedRows hashed;
  const float* alpha;     // sign: [rows]
  const uint8_t* signs;   // sign: row-major bits, least significant first
};

inline int panels_of_group(const MatrixSource& source) { return (source.cout / source.groups + kPanel - 1) / kPanel; }
inline int panel_count(const MatrixSource& source) { return source.groups * panels_of_group(source); }
inline size_t panel_floats(const MatrixSource& source) {
  return size_t(source.kernel) * size_t(source.cin_group) * kPanel;
}

// Fills panel `panel`, numbered over all groups: panel_floats floats.
void fill_panel(const MatrixSource& source, const Kernels& kernels, int panel, float* out);

}  // namespace camfit
