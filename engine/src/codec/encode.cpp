#include "encode.h"

#include "codebook_values.h"
#include "encode_parts.h"
#include "huffman.h"
#include "payload.h"
#include "streams.h"

namespace camfit {
namespace codec {

void put_varint(std::vector<uint8_t>* out, uint32_t value) {
  for (; value > 0x7f; value >>= 7) out->push_back(static_cast<uint8_t>(value | 0x80));
  out->push_back(static_cast<uint8_t>(value));
}

namespace {

constexpr uint32_t kFewNonzeros = 1024;  // up to here coder 0 is tried too

float stored_value(float value, bool half) {
  uint16_t bits = 0;
  if (!half) return value;
  float_to_half(value, &bits);
  return half_to_float(bits);
}

void write(const EncodeInput& input, const float* codebook, const CodebookEncodeOptions& options, bool differences,
           std::vector<uint8_t>* out, CodebookSizes* sizes) {
  *sizes = CodebookSizes();
  out->clear();
  uint8_t head = static_cast<uint8_t>(options.coder);
  if (options.half_codebook) head |= kHalfFlag;
  if (input.dense()) head |= kDenseFlag;
  out->push_back(head);
  put_varint(out, input.entries);
  if (!input.dense()) put_varint(out, input.nonzeros);
  const size_t before = out->size();
  if (put_values(codebook, input.entries, options.half_codebook, differences, out)) head |= kAscendingFlag;
  sizes->codebook = out->size() - before;
  uint8_t mode;
  if (options.coder == kHuffman) {
    mode = options.huffman ? kHuffmanCoded : kFixedWidth;
    huffman_encode(input, options, out, sizes);
  } else if (options.coder == kFast) {
    mode = fast_encode(input, out, sizes);
  } else {
    // The models look at the values as the reader will see them.
    std::vector<float> stored(codebook, codebook + input.entries);
    for (float& value : stored) value = stored_value(value, options.half_codebook);
    mode = range_encode(input, options, stored.data(), out, sizes);
  }
  (*out)[0] = static_cast<uint8_t>(head | mode << kModeShift);
  sizes->header = out->size() - sizes->indices - sizes->codes - sizes->codebook;
}

}  // namespace
}  // namespace codec

const char* codebook_encode(uint32_t rows, uint32_t columns, const int32_t* index, const float* codebook,
                            uint32_t entries, const CodebookEncodeOptions& options, std::vector<uint8_t>* out,
                            CodebookSizes* sizes) {
  using namespace codec;
  EncodeInput input{rows, columns, index, entries, 0};
  const uint64_t positions = input.positions();
  if (positions > 0xffffffffu) return "the matrix has 2^32 positions or more";
  if (entries < 1 || entries > kMaxEntries) return "the codebook size is not 1 to 65536";
  if (options.coder < kHuffman || options.coder > kFast) return "the coder is not 0, 1 or 2";
  if (options.gap_bits < 1 || options.gap_bits > kMaxGapBits) return "gap_bits is not 1 to 16";
  for (uint64_t i = 0; i < positions; ++i) {
    if (index[i] < -1 || index[i] >= static_cast<int64_t>(entries)) return "an index is not -1 to codebook size - 1";
    if (index[i] >= 0) ++input.nonzeros;
  }
  for (uint32_t k = 0; k < entries && options.half_codebook; ++k) {
    uint16_t half;
    if (!float_to_half(codebook[k], &half)) return "a codebook value does not fit binary16";
  }
  CodebookEncodeOptions chosen = options;
  if (options.coder == kFast && entries > kMostSymbols) chosen.coder = kRange;
  write(input, codebook, chosen, options.coder != kHuffman, out, sizes);
  if (options.coder == kHuffman || input.nonzeros > kFewNonzeros) return nullptr;
  for (const bool huffman : {false, true}) {
    CodebookEncodeOptions simple = options;
    simple.coder = kHuffman;
    simple.huffman = huffman;
    std::vector<uint8_t> bytes;
    CodebookSizes parts;
    write(input, codebook, simple, true, &bytes, &parts);
    if (bytes.size() >= out->size()) continue;
    out->swap(bytes);
    *sizes = parts;
  }
  return nullptr;
}

}  // namespace camfit
