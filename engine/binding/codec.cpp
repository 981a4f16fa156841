// The codebook codec: what a packer stores and the engine reads, for packing and for tests.
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bound.h"
#include "codec.h"
#include "codec/encode.h"

namespace nb = nanobind;

namespace {

using Index = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Values = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class T>
nb::ndarray<nb::numpy, T> array_of(std::unique_ptr<T[]> values, std::initializer_list<size_t> shape) {
  T* memory = values.release();
  nb::capsule owner(memory, [](void* held) noexcept { delete[] static_cast<T*>(held); });
  return nb::ndarray<nb::numpy, T>(memory, shape, owner);
}

// (payload, sizes): sizes says where the payload's bytes went.
nb::tuple encode(const Index& index, const Values& codebook, const std::string& coder, uint32_t gap_bits, bool half) {
  if (coder != "range" && coder != "fast" && coder != "huffman" && coder != "bits") {
    throw nb::value_error(("coder: '" + coder + "', expected 'range', 'fast', 'huffman' or 'bits'").c_str());
  }
  if (index.shape(0) > UINT32_MAX || index.shape(1) > UINT32_MAX || codebook.shape(0) > UINT32_MAX) {
    throw nb::value_error("encode_codebook: an array is too large");
  }
  camfit::CodebookEncodeOptions options;
  options.coder = coder == "range" ? 1 : coder == "fast" ? 2 : 0;
  options.gap_bits = gap_bits;
  options.huffman = coder == "huffman";
  options.half_codebook = half;
  std::vector<uint8_t> payload;
  camfit::CodebookSizes sizes;
  const char* problem;
  {
    nb::gil_scoped_release unlocked;
    problem = camfit::codebook_encode(uint32_t(index.shape(0)), uint32_t(index.shape(1)), index.data(), codebook.data(),
                                      uint32_t(codebook.shape(0)), options, &payload, &sizes);
  }
  if (problem) throw nb::value_error(problem);
  nb::dict parts;
  parts["indices"] = sizes.indices;
  parts["codes"] = sizes.codes;
  parts["codebook"] = sizes.codebook;
  parts["header"] = sizes.header;
  return nb::make_tuple(nb::bytes(payload.data(), payload.size()), parts);
}

// (index, codebook): index int32 [rows, columns], -1 for a pruned weight.
nb::tuple decode(nb::bytes payload, uint32_t rows, uint32_t columns) {
  const uint8_t* data = static_cast<const uint8_t*>(payload.data());
  camfit::CodebookHead head;
  const char* problem = camfit::codebook_read_head(data, payload.size(), rows, columns, &head);
  if (problem) throw nb::value_error(problem);
  const size_t cells = size_t(rows) * columns;
  if (head.nonzeros > cells) throw nb::value_error("codebook: more non-zeros than weights");
  auto codebook = std::make_unique<float[]>(head.entries);
  std::vector<uint32_t> row_begin(size_t(rows) + 1), column(head.nonzeros);
  std::vector<uint16_t> code(head.nonzeros);
  std::vector<uint64_t> scratch((head.scratch_bytes + 7) / 8);
  problem = camfit::codebook_decode(data, payload.size(), rows, columns,
                                    {codebook.get(), row_begin.data(), column.data(), code.data(), scratch.data()});
  if (problem) throw nb::value_error(problem);
  auto index = std::make_unique<int32_t[]>(cells);
  std::memset(index.get(), 0xFF, cells * sizeof(int32_t));
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t e = row_begin[row]; e < row_begin[row + 1]; ++e) index[size_t(row) * columns + column[e]] = code[e];
  }
  return nb::make_tuple(array_of<int32_t>(std::move(index), {rows, columns}),
                        array_of<float>(std::move(codebook), {head.entries}));
}

}  // namespace

void binding::bind_codec(nb::module_& module) {
  module.def("encode_codebook", &encode, nb::arg("index"), nb::arg("codebook"), nb::arg("coder") = "range",
             nb::arg("gap_bits") = 5, nb::arg("half") = false,
             "Payload of a codebook weight (docs/format.md). index: int32 [rows, columns], -1 for a pruned weight,\n"
             "else its code; codebook: float32 [entries], rounded to binary16 where half. coder: 'range', 'fast', or\n"
             "relative indices of gap_bits bits as 'huffman' codes or plain 'bits'. Returns (payload, dict of the bytes of its\n"
             "indices, codes, codebook and header). Raises ValueError for what cannot be stored.");
  module.def("decode_codebook", &decode, nb::arg("payload"), nb::arg("rows"), nb::arg("columns"),
             "The reverse: (index int32 [rows, columns], codebook float32 [entries]). Raises ValueError.");
}
