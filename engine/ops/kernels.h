// The kernels: what each op computes, once in plain C++ (the oracle of every test) and once per instruction set.
//
// Activations are float32, height x width x channels with channels fastest, no padding between pixels.
// A kernel never allocates and never starts threads: it computes the part of the output it is told to, so that the
// caller can share one op among threads without shared writes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit {

enum class Activation : uint8_t { kNone = 0, kRelu = 1, kRelu6 = 2 };

struct Shape {
  int height = 1, width = 1, channels = 1;
  size_t size() const { return size_t(height) * width * channels; }
};

// Geometry of a convolution (also of a pool, where dilation = groups = 1 and cout = cin).
struct Window {
  Shape in, out;
  int kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int pad_top = 0, pad_left = 0;  // bottom and right follow from `out`
  int dilation_h = 1, dilation_w = 1, groups = 1;
};

// y = activation(scale * accumulated + bias), per output channel; null means 1 and 0.
struct Epilogue {
  const float* scale = nullptr;
  const float* bias = nullptr;
  Activation activation = Activation::kNone;
};

struct Range {
  int begin, end;
};

// Output channels are handled in panels of kPanel. Panel p of group g holds, for its channels (zero-filled past the
// group's end), floats [kernel_h][kernel_w][cin / groups][kPanel]. Panels of one group never mix with the next's:
// panels per group = ceil((cout / groups) / kPanel). A linear layer is the case kernel 1x1 on a 1x1 image.
// Any form of weights (dense, codebook, hashed) reaches the dense kernels by filling panels.
constexpr int kPanel = 16;

// Rows of a sparse matrix with codebook values: value of entry e is codebook[code[e]], or codebook[e] where
// code is null.
struct SparseRows {
  const uint32_t* row_begin;
  const void* column;       // uint16_t where column16, else uint32_t
  bool column16;
  const uint16_t* code;
  const float* codebook;
};

// The same rows, grouped by value: in each block of kChunkColumns columns, a row's entries of one code, in chunks of
// four columns (from the block's first one on; kChunkColumns in places that are left over). One product for a chunk.
// Chunks of row i in block b: begin[b * rows + i] .. begin[b * rows + i + 1], an even number.
constexpr int kChunkColumns = 4096;
struct SparseChunks {
  int rows, columns;
  const uint32_t* begin;
  const uint16_t* column;  // 4 of each chunk
  const uint8_t* code;     // 1 of each chunk
  const float* codebook;
};

// Rows in blocks of kBlockRows that have their entries in the same columns: entries of block b are begin[b] ..
// begin[b + 1]. Values are floats [entry][kBlockRows], or where `value` is null 4-bit codes, the first row's in the
// lowest bits. Rows past the last one are zero.
constexpr int kBlockRows = 8;
struct SparseBlocks {
  int rows;
  const uint32_t* begin;
  const uint32_t* column;
  const float* value;
  const uint32_t* codes;
  float codebook[16];
};

// Tiles of kTileRows x kTileColumns, in each row kTileEntries places of 10 bits: column in the tile, then code; code 0
// is an empty place, of value 0 (which makes not-a-number of an infinite input, as zeros of panels do). Three places to a word, the first in the lowest bits: word[row tile][column tile]
// [kTileEntries / 3][kTileRows]. Entries that find no place are in `rest`.
constexpr int kTileRows = 16, kTileColumns = 32, kTileEntries = 6;
struct SparseTiles {
  int rows, columns;
  const uint32_t* word;
  SparseRows rest;  // column16; its codes are those of the tiles
  float codebook[32];
};

// The non-zero weights of a convolution as conv2d_sparse takes them: for each block of input channels, for each output
// channel, its taps in begin[block * cout + channel] .. begin[block * cout + channel + 1]. See conv2d_sparse/layout.h.
struct SparseTap {
  int32_t offset;
  float value;
};
struct SparseTaps {
  const uint32_t* begin;
  const SparseTap* tap;
};

// A convolution's weights without the columns of the lowered matrix (an input channel at a tap of the kernel) that are zero
// for a whole panel. List p tells the columns of panel p: their offsets (conv2d_columns/layout.h) from `first` on, and their
// weights [column][kPanel] from `value` on. Neighbours that use the same columns share `first`, and their weights
// follow each other.
struct ColumnList {
  uint32_t first, count;
  uint64_t value;
};
struct PanelColumns {
  const ColumnList* list;
  const int32_t* offset;
  const float* value;
};

// A convolution's weights without the kernels that are zero, for Winograd's way in tiles of `tile` x `tile` outputs: the input
// channels of output channel o in channel[begin[o]] .. channel[begin[o + 1]], their transformed weights [point][count].
struct ChannelPairs {
  int tile;
  uint32_t count;  // of all pairs
  const uint32_t* begin;
  const uint32_t* channel;
  const float* value;
};

// A measured time as a share of that of the set's dense way: `none` if all weights were zero, and `each` for all of them more.
struct CostLine {
  double none, each;
  double at(double density) const { return none + each * density; }
};
constexpr CostLine kNever = {1e9, 0};

// Weight (i, j) is xi(i, j) * bucket[h(i, j)] (docs/format.md): both from one hash, or each from its own.
struct HashedRows {
  const float* bucket;
  uint32_t buckets, seed, columns;
  bool one_hash;
};

struct Int8Kernels;  // int8/int8.h

struct Kernels {
  const char* name;
  const Int8Kernels* int8;

  // Convolution over output rows `rows` and panels `panels` (numbered over all groups). `panel` points to the first
  // panel of the range. Scratch: conv2d_scratch floats, not shared between threads.
  size_t (*conv2d_scratch)(const Window&);
  void (*conv2d)(const Window&, const float* in, const float* panel, const Epilogue&, float* out, Range rows,
                 Range panels, float* scratch);

  // The same convolution by Winograd's way (winograd/winograd.h), for windows that it fits, from transformed panels.
  // winograd_tile: the outputs of a tile's side with which this set is faster than by conv2d, 0 where it is not. `rows`
  // begins at a multiple of `tile`, and ends at one or at the last row. Null in a set that never takes this way.
  int (*winograd_tile)(const Window&);
  size_t (*winograd_scratch)(const Window&, int tile);
  void (*winograd)(const Window&, int tile, const float* in, const float* panel, const Epilogue&, float* out,
                   Range rows, Range panels, float* scratch);

  // The same convolution from its non-zero weights, groups == 1, over output rows and channels. Costs here and below depend
  // on the share of weights that a form does not leave out.
  CostLine (*conv2d_sparse_cost)(const Window&);
  size_t (*conv2d_sparse_scratch)(const Window&);
  void (*conv2d_sparse)(const Window&, const float* in, const SparseTaps&, const Epilogue&, float* out, Range rows,
                        Range channels, float* scratch);

  // The same from the columns that each panel uses, over output rows and panels.
  CostLine (*conv2d_columns_cost)(const Window&);
  size_t (*conv2d_columns_scratch)(const Window&);
  void (*conv2d_columns)(const Window&, const float* in, const PanelColumns&, const Epilogue&, float* out, Range rows,
                         Range panels, float* scratch);

  // The same by Winograd's way from the kernels that are not zero, over output rows and channels, which begin at multiples
  // of the tile and of kPanel. winograd_pairs_tile: the tile with which it is fastest, for a window that it is faster
  // for. Null in a set that has no such kernel; its cost is then never asked.
  int (*winograd_pairs_tile)(const Window&);
  CostLine (*winograd_pairs_cost)(const Window&);
  size_t (*winograd_pairs_scratch)(const Window&, int tile);
  void (*winograd_pairs)(const Window&, const float* in, const ChannelPairs&, const Epilogue&, float* out, Range rows,
                         Range channels, float* scratch);

  // groups == cin, cout == cin. Weights [kernel_h][kernel_w][channels].
  void (*depthwise)(const Window&, const float* in, const float* weights, const Epilogue&, float* out, Range rows);

  // y = W x over output panels (see conv2d).
  void (*linear)(int cin, int cout, const float* in, const float* panel, const Epilogue&, float* out, Range panels);

  // y = W x over output rows of W, straight from the sparse and the hashed form.
  void (*linear_sparse)(const SparseRows&, const float* in, const Epilogue&, float* out, Range rows);
  void (*linear_chunks)(const SparseChunks&, const float* in, const Epilogue&, float* out, Range rows);
  // `rows` begins at a multiple of kBlockRows, for tiles of kTileRows. linear_tiles is null in sets that have no
  // permutation of 32 floats: they are slower so.
  void (*linear_blocks)(const SparseBlocks&, const float* in, const Epilogue&, float* out, Range rows);
  void (*linear_tiles)(const SparseTiles&, const float* in, const Epilogue&, float* out, Range rows);
  void (*linear_hashed)(const HashedRows&, const float* in, const Epilogue&, float* out, Range rows);

  // Fills row i, columns `columns` of a hashed matrix: out[j - columns.begin] = xi(i,j) * bucket[h(i,j)].
  void (*hashed_row)(const HashedRows&, uint32_t row, Range columns, float* out);

  // Packs signs of pixels, 1 bit per channel, sign(0) = +1 -> 1; words of 64 channels, the tail filled with zeros.
  // `mean_abs`, where not null, receives the channel mean of |x| of each pixel.
  void (*pack_signs)(const float* in, int pixels, int channels, uint64_t* words, float* mean_abs);

  // Binary convolution, groups == 1, on packed signs. Weights: [cout][kernel_h][kernel_w][words], tail bits zero;
  // padding counts as zero. `alpha` per output channel multiplies into the epilogue's scale by the caller; `box_mean`,
  // where not null, is K per output pixel. y = activation(scale * K * dot + bias). A linear layer is a 1x1 image.
  void (*binary_conv2d)(const Window&, const uint64_t* in, const uint64_t* weights, const float* box_mean,
                        const Epilogue&, float* out, Range rows, Range channels);
  // K of `rows`: box filter with weights 1/(kernel_h*kernel_w) over mean_abs, zero padding.
  void (*box_filter)(const Window&, const float* mean_abs, float* box_mean, Range rows);

  void (*max_pool)(const Window&, const float* in, float* out, Range rows);
  void (*avg_pool)(const Window&, const float* in, bool count_include_pad, float* out, Range rows);
  void (*global_avg_pool)(const Shape&, const float* in, float* out);
  void (*add)(const float* a, const float* b, Activation, float* out, size_t count);
  void (*activation)(const float* in, Activation, float* out, size_t count);
  void (*affine)(const float* in, int pixels, int channels, const Epilogue&, float* out);
  void (*flatten)(const Shape&, const float* in, float* out);  // HWC -> CHW
  void (*softmax)(const float* in, float* out, int count);
  // Channels as a matrix [groups][channels / groups], transposed at each pixel; `groups` divides `channels`.
  void (*channel_shuffle)(const float* in, int pixels, int channels, int groups, float* out);
  // Channels [stride_h][stride_w][channels of the output] of a pixel become a block of pixels; the first pad_top rows and
  // pad_left columns are left out. Values of `element` bytes. `rows` of the output.
  void (*depth_to_space)(const Window&, size_t element, const uint8_t* in, uint8_t* out, Range rows);
  void (*normalise_u8)(const uint8_t* in, int pixels, int channels, const float* scale, const float* shift, float* out);
  void (*normalise_f32)(const float* in, int pixels, int channels, const float* scale, const float* shift, float* out);
};

const Kernels& plain_kernels();

// nullptr where not compiled in, or where the processor lacks AVX2, FMA or POPCNT, for the second also AVX-512 F, BW, DQ
// or VL. Of AVX-512's binary convolution there are two: it counts bits with VPOPCNTDQ only where that is present; its
// integer kernels are those of AVX2 where VNNI is not.
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* neon_kernels();  // nullptr but on 64-bit ARM

}  // namespace camfit
