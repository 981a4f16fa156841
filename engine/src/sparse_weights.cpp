// Forms codebook and sparse: decoded to sparse rows, which are kept or turned into panels.
#include <cmath>
#include <type_traits>

#include "cursor.h"
#include "weight_holder.h"

namespace camfit {

bool read_head(const Holder& at, const uint8_t* payload, size_t size, CodebookHead* head) {
  const Weight& weight = *at.layer.weight;
  const char* problem = codebook_read_head(payload, size, weight.rows(), weight.columns(), head);
  if (problem) return at.error.malformed("%s: %s", at.who, problem);
  if (head->nonzeros <= weight.elements()) return true;
  return at.error.malformed("%s: %u non-zeros among %llu weights", at.who, head->nonzeros,
                            static_cast<unsigned long long>(weight.elements()));
}

static bool check_codebook(const Holder& at, const float* codebook, uint32_t entries) {
  for (uint32_t i = 0; i < entries; ++i) {
    if (!std::isfinite(codebook[i])) return at.error.malformed("%s: a codebook value is not finite", at.who);
  }
  return true;
}

bool read_bytes(const Holder& at, const uint8_t* payload, size_t size, const CodebookHead& head, MatrixSource* source) {
  const Weight& weight = *at.layer.weight;
  float* codebook = at.allocator.take<float>(head.entries);
  uint8_t* bytes = at.allocator.take<uint8_t>(weight.elements());
  if (!codebook || !bytes) return at.no_memory();
  const char* problem = codebook_decode_bytes(payload, size, weight.rows(), weight.columns(), codebook, bytes);
  if (problem) return at.error.malformed("%s: %s", at.who, problem);
  source->sparse = SparseRows{nullptr, nullptr, false, nullptr, codebook};
  source->bytes = bytes;
  return check_codebook(at, codebook, head.entries);
}

bool read_codebook(const Holder& at, const uint8_t* payload, size_t size, MatrixSource* source, uint32_t* entries,
                   uint64_t* nonzeros) {
  const Weight& weight = *at.layer.weight;
  CodebookHead head;
  if (!read_head(at, payload, size, &head)) return false;
  CodebookMatrix matrix;
  matrix.codebook = at.allocator.take<float>(head.entries);
  matrix.row_begin = at.allocator.take<uint32_t>(uint64_t(weight.rows()) + 1);
  const bool narrow = weight.columns() <= 65536;
  matrix.column = narrow ? nullptr : at.allocator.take<uint32_t>(head.nonzeros);
  matrix.column16 = narrow ? at.allocator.take<uint16_t>(head.nonzeros) : nullptr;
  matrix.code = at.allocator.take<uint16_t>(head.nonzeros);
  matrix.scratch = at.allocator.take<uint8_t>(head.scratch_bytes);
  void* const column = narrow ? static_cast<void*>(matrix.column16) : matrix.column;
  if (!matrix.codebook || !matrix.row_begin || !column || !matrix.code || !matrix.scratch) return at.no_memory();
  const char* problem = codebook_decode(payload, size, weight.rows(), weight.columns(), matrix);
  at.allocator.give(matrix.scratch);
  if (problem) return at.error.malformed("%s: %s", at.who, problem);
  if (!check_codebook(at, matrix.codebook, head.entries)) return false;
  // Columns in panel order, (kernel, channel), so that an expansion needs no division.
  const uint32_t kernel = uint32_t(source->kernel), channels = uint32_t(source->cin_group);
  const auto to_panel_order = [&](auto* of) {
    using Column = std::remove_pointer_t<decltype(of)>;
    for (uint32_t e = 0; e < head.nonzeros; ++e) of[e] = Column(of[e] % kernel * channels + of[e] / kernel);
  };
  if (kernel > 1) narrow ? to_panel_order(matrix.column16) : to_panel_order(matrix.column);
  source->sparse = SparseRows{matrix.row_begin, column, narrow, matrix.code, matrix.codebook};
  *entries = head.entries;
  *nonzeros = head.nonzeros;
  return true;
}

void give_sparse(Allocator& allocator, const SparseRows& rows) {
  allocator.give(const_cast<uint32_t*>(rows.row_begin));
  allocator.give(const_cast<void*>(rows.column));
  allocator.give(const_cast<uint16_t*>(rows.code));
  allocator.give(const_cast<float*>(rows.codebook));
}

// From one byte for each weight, without rows in between. Mode memory keeps the bytes.
static bool hold_bytes(const Holder& at, const CodebookHead& head, bool depthwise, HeldWeights* out) {
  const Weight& weight = *at.layer.weight;
  MatrixSource& source = out->source;
  if (!read_bytes(at, weight.payload, weight.payload_size, head, &source)) return false;
  if (!depthwise && at.mode == CAMFIT_MEMORY) {
    out->held = Held::kExpand;
    return true;
  }
  if (!(depthwise ? fill_depthwise(at, out) : fill_all_panels(at, out))) return false;
  at.allocator.give(const_cast<uint8_t*>(source.bytes));
  at.allocator.give(const_cast<float*>(source.sparse.codebook));
  return true;
}

bool hold_codebook(const Holder& at, bool linear, bool depthwise, HeldWeights* out) {
  const Weight& weight = *at.layer.weight;
  CodebookHead head;
  if (!read_head(at, weight.payload, weight.payload_size, &head)) return false;
  // A linear layer of few values may run faster from its codes than from panels: hold_linear finds that out.
  const bool few = linear && at.mode == CAMFIT_SPEED && head.entries <= kCodedEntries;
  if (head.bytes && !few) return hold_bytes(at, head, depthwise, out);
  uint32_t entries = 0;
  if (!read_codebook(at, weight.payload, weight.payload_size, &out->source, &entries, &out->nonzeros)) {
    return false;
  }
  out->params = out->nonzeros;
  if (!depthwise && at.mode == CAMFIT_MEMORY) {
    out->held = linear ? Held::kCodebook : Held::kExpand;
    return true;
  }
  bool held = false;
  if (linear && !hold_linear(at, out->source.sparse, entries, out->nonzeros, out, &held)) return false;
  if (!linear && !depthwise && !hold_sparse_conv(at, out, &held)) return false;
  if (!held && !(depthwise ? fill_depthwise(at, out) : fill_all_panels(at, out))) return false;
  give_sparse(at.allocator, out->source.sparse);
  return true;
}

bool hold_sparse(const Holder& at, bool linear, bool depthwise, HeldWeights* out) {
  const Weight& weight = *at.layer.weight;
  constexpr uint32_t kHead = 4;
  const uint32_t positions = weight.payload_size < kHead ? 0 : load_u32(weight.payload);
  if (weight.payload_size < kHead || positions > weight.payload_size - kHead) {
    return at.error.malformed("%s: positions of %u bytes in a payload of %u", at.who, positions, weight.payload_size);
  }
  uint32_t entries = 0;
  MatrixSource& source = out->source;
  if (!read_codebook(at, weight.payload + kHead, positions, &source, &entries, &out->nonzeros)) {
    return false;
  }
  if (entries != 1 || source.sparse.codebook[0] != 1.0f) {
    return at.error.malformed("%s: the positions of form sparse have another codebook than the one value 1", at.who);
  }
  if (weight.payload_size - kHead - positions != 4 * out->nonzeros) {
    return at.error.malformed("%s: %u bytes of values, expected %llu", at.who, weight.payload_size - kHead - positions,
                              static_cast<unsigned long long>(4 * out->nonzeros));
  }
  if (!read_floats(at, "weight", weight.payload + kHead + positions, out->nonzeros, &source.values)) return false;
  out->params = out->nonzeros;

  // An entry takes a value and a column of 2 or 4 bytes, so rows that are not sparse enough are smaller as panels.
  const uint64_t bytes_per_entry = weight.columns() > 65536 ? 8 : 6;
  const bool smaller = bytes_per_entry * out->nonzeros < sizeof(float) * weight.elements();
  if (at.mode == CAMFIT_MEMORY && smaller && !depthwise) {
    at.allocator.give(const_cast<uint16_t*>(source.sparse.code));
    at.allocator.give(const_cast<float*>(source.sparse.codebook));
    source.sparse.code = nullptr;
    source.sparse.codebook = nullptr;
    out->held = linear ? Held::kSparse : Held::kExpand;
    return true;
  }
  bool held = false;
  const SparseRows& rows = source.sparse;
  const SparseRows values = {rows.row_begin, rows.column, rows.column16, nullptr, source.values};
  if (linear && !hold_linear(at, values, 0, out->nonzeros, out, &held)) return false;
  if (!linear && !depthwise && !hold_sparse_conv(at, out, &held)) return false;
  if (!held && !(depthwise ? fill_depthwise(at, out) : fill_all_panels(at, out))) return false;
  give_sparse(at.allocator, source.sparse);
  at.allocator.give(const_cast<float*>(source.values));
  return true;
}

}  // namespace camfit
