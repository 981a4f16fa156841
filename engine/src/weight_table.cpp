// The WGHT section: form, shape and payload of every weight, checked against each other and against the BLOB section.
#include "cursor.h"
#include "network.h"

namespace camfit {
namespace {

constexpr uint32_t kHashedHead = 8;  // seed and K

// The payload length that form and shape demand; UINT64_MAX where the payload says so itself.
uint64_t payload_size(const Weight& weight) {
  const uint64_t elements = weight.elements();
  switch (weight.form) {
    case Form::kDense: return 4 * elements;
    case Form::kHalf: return 2 * elements;
    case Form::kSign: return 4 * uint64_t(weight.rows()) + (elements + 7) / 8;
    case Form::kCodebook:
    case Form::kHashed:
    case Form::kSparse: break;
  }
  return UINT64_MAX;
}

bool check_weight(uint32_t index, const Weight& weight, const Limits& limits, Error& error) {
  uint64_t elements = 1;
  for (uint32_t dimension : weight.shape) {
    if (dimension == 0) return error.malformed("WGHT: weight %u has a dimension of 0", index);
    elements *= dimension;  // both factors are below 2^32
    if (elements > limits.tensor_elements) {
      return error.unsupported("WGHT: weight %u has more than %llu elements", index,
                               static_cast<unsigned long long>(limits.tensor_elements));
    }
  }
  if (weight.form == Form::kHalf && weight.rank != 1) {
    return error.malformed("WGHT: weight %u of form half has rank %u, expected 1", index, weight.rank);
  }
  if (weight.form > Form::kHalf && weight.rank == 1) {
    return error.malformed("WGHT: weight %u of form %s has rank 1, expected 2 or 4", index, form_name(weight.form));
  }
  const uint64_t expected = payload_size(weight);
  if (expected != UINT64_MAX && expected != weight.payload_size) {
    return error.malformed("WGHT: weight %u of form %s has a payload of %u bytes, expected %llu", index,
                           form_name(weight.form), weight.payload_size, static_cast<unsigned long long>(expected));
  }
  return true;
}

// Needs the payload; the table alone cannot tell.
bool check_hashed(uint32_t index, const Weight& weight, Error& error) {
  if (weight.payload_size < kHashedHead) {
    return error.malformed("BLOB: weight %u of form hashed has a payload of %u bytes, expected at least %u", index,
                           weight.payload_size, kHashedHead);
  }
  const uint32_t buckets = load_u32(weight.payload + 4) & ~kOneHash;
  if (buckets == 0) return error.malformed("BLOB: weight %u of form hashed has no buckets", index);
  if (weight.payload_size != kHashedHead + 4 * uint64_t(buckets)) {
    return error.malformed("BLOB: weight %u of form hashed has %u buckets in a payload of %u bytes, expected %llu",
                           index, buckets, weight.payload_size,
                           static_cast<unsigned long long>(kHashedHead + 4 * uint64_t(buckets)));
  }
  return true;
}

// Version 1 had the coders 0 and 1, version 2 hashed by two hashes. What else a payload holds is checked where it is
// decoded.
bool check_version(uint32_t index, const Weight& weight, uint32_t version, Error& error) {
  if (weight.form == Form::kHashed && version < 3 && (load_u32(weight.payload + 4) & kOneHash)) {
    return error.malformed("BLOB: weight %u is hashed once, which a file of version %u cannot have", index, version);
  }
  const uint32_t head = weight.form == Form::kCodebook ? 0 : weight.form == Form::kSparse ? 4 : weight.payload_size;
  constexpr uint8_t kCoder = 7, kFast = 2;  // the head's bits of the coder
  if (version > 1 || head >= weight.payload_size || (weight.payload[head] & kCoder) != kFast) return true;
  return error.malformed("BLOB: weight %u has coder 2, which a file of version 1 cannot have", index);
}

}  // namespace

const char* form_name(Form form) {
  switch (form) {
    case Form::kDense: return "dense";
    case Form::kHalf: return "half";
    case Form::kCodebook: return "codebook";
    case Form::kHashed: return "hashed";
    case Form::kSign: return "sign";
    case Form::kSparse: return "sparse";
  }
  return "?";
}

bool read_weight_table(const Sections& sections, const Limits& limits, Allocator& allocator, Network* out,
                       Error& error) {
  Cursor table(sections.weights.data, sections.weights.size);
  const uint32_t count = table.varint();
  if (!table.ok()) return error.malformed("WGHT: byte %zu: %s", table.position(), table.problem());
  if (count > limits.weights) return error.unsupported("WGHT: %u weights, at most %u", count, limits.weights);
  constexpr size_t kLeastEntry = 4;  // form, rank, one dimension, payload length
  if (count > table.left() / kLeastEntry) {
    return error.malformed("WGHT: %u weights in %zu bytes", count, table.left());
  }
  out->weights = allocator.take<Weight>(count);
  if (!out->weights) return error.out_of_memory(allocator, "the weight table");
  out->weight_count = count;

  uint64_t offset = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Weight& weight = out->weights[i];
    const uint8_t form = table.u8();
    weight.rank = table.u8();
    if (table.ok() && form > uint8_t(Form::kSparse)) {
      return error.unsupported("WGHT: weight %u has unknown form %u", i, form);
    }
    weight.form = Form(form);
    if (table.ok() && weight.rank != 1 && weight.rank != 2 && weight.rank != 4) {
      return error.malformed("WGHT: weight %u has rank %u, expected 1, 2 or 4", i, weight.rank);
    }
    for (uint32_t d = 0; d < 4; ++d) weight.shape[d] = d < weight.rank ? table.varint() : 1;
    weight.payload_size = table.varint();
    if (!table.ok()) return error.malformed("WGHT: weight %u: byte %zu: %s", i, table.position(), table.problem());
    if (!check_weight(i, weight, limits, error)) return false;
    if (weight.payload_size > sections.blob.size - offset) {
      return error.malformed("WGHT: weight %u's payload ends at byte %llu of BLOB, which has %u", i,
                             static_cast<unsigned long long>(offset + weight.payload_size), sections.blob.size);
    }
    weight.payload = sections.blob.data + offset;
    offset += weight.payload_size;
    if (weight.form == Form::kHashed && !check_hashed(i, weight, error)) return false;
    if (!check_version(i, weight, sections.version, error)) return false;
  }
  if (table.left()) return error.malformed("WGHT: %zu bytes left over after the last weight", table.left());
  if (offset != sections.blob.size) {
    return error.malformed("BLOB: %u bytes, but the payloads take %llu", sections.blob.size,
                           static_cast<unsigned long long>(offset));
  }
  return true;
}

}  // namespace camfit
