// Declares the kernels of kernels.h in the namespace CAMFIT_DECLARED_SET, which the includer defines: once for each set,
// so without a guard. A set that takes a kernel from another one leaves its own undefined.

namespace camfit {
namespace CAMFIT_DECLARED_SET {

size_t conv2d_scratch(const Window&);
void conv2d(const Window&, const float* in, const float* panel, const Epilogue&, float* out, Range rows, Range panels,
            float* scratch);
int winograd_tile(const Window&);
size_t winograd_scratch(const Window&, int tile);
void winograd(const Window&, int tile, const float* in, const float* panel, const Epilogue&, float* out, Range rows,
              Range panels, float* scratch);
CostLine conv2d_sparse_cost(const Window&);
size_t conv2d_sparse_scratch(const Window&);
void conv2d_sparse(const Window&, const float* in, const SparseTaps&, const Epilogue&, float* out, Range rows,
                   Range channels, float* scratch);
CostLine conv2d_columns_cost(const Window&);
size_t conv2d_columns_scratch(const Window&);
void conv2d_columns(const Window&, const float* in, const PanelColumns&, const Epilogue&, float* out, Range rows,
                    Range panels, float* scratch);
int winograd_pairs_tile(const Window&);
CostLine winograd_pairs_cost(const Window&);
size_t winograd_pairs_scratch(const Window&, int tile);
void winograd_pairs(const Window&, const float* in, const ChannelPairs&, const Epilogue&, float* out, Range rows,
                    Range channels, float* scratch);
void depthwise(const Window&, const float* in, const float* weights, const Epilogue&, float* out, Range rows);
void linear(int cin, int cout, const float* in, const float* panel, const Epilogue&, float* out, Range panels);
void linear_sparse(const SparseRows&, const float* in, const Epilogue&, float* out, Range rows);
void linear_chunks(const SparseChunks&, const float* in, const Epilogue&, float* out, Range rows);
void linear_blocks(const SparseBlocks&, const float* in, const Epilogue&, float* out, Range rows);
void linear_tiles(const SparseTiles&, const float* in, const Epilogue&, float* out, Range rows);
void linear_hashed(const HashedRows&, const float* in, const Epilogue&, float* out, Range rows);
void hashed_row(const HashedRows&, uint32_t row, Range columns, float* out);
void pack_signs(const float* in, int pixels, int channels, uint64_t* words, float* mean_abs);
void binary_conv2d(const Window&, const uint64_t* in, const uint64_t* weights, const float* box_mean, const Epilogue&,
                   float* out, Range rows, Range channels);
void box_filter(const Window&, const float* mean_abs, float* box_mean, Range rows);
void max_pool(const Window&, const float* in, float* out, Range rows);
void avg_pool(const Window&, const float* in, bool count_include_pad, float* out, Range rows);
void global_avg_pool(const Shape&, const float* in, float* out);
void add(const float* a, const float* b, Activation, float* out, size_t count);
void activation(const float* in, Activation, float* out, size_t count);
void affine(const float* in, int pixels, int channels, const Epilogue&, float* out);
void flatten(const Shape&, const float* in, float* out);
void softmax(const float* in, float* out, int count);
void channel_shuffle(const float* in, int pixels, int channels, int groups, float* out);
void depth_to_space(const Window&, size_t element, const uint8_t* in, uint8_t* out, Range rows);
void normalise_u8(const uint8_t* in, int pixels, int channels, const float* scale, const float* shift, float* out);
void normalise_f32(const float* in, int pixels, int channels, const float* scale, const float* shift, float* out);

}  // namespace CAMFIT_DECLARED_SET
}  // namespace camfit
