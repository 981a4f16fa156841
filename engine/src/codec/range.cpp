// The reader of coder 1; the writer is range_encode.cpp.
#include "range.h"

#include "payload.h"
#include "range_models.h"

namespace camfit::codec {
namespace {

const char* read_range_head(const Payload& payload, Reader* body, RangeHead* head) {
  if (payload.mode > (kGapPositions | kPlainCodes)) return "codebook payload: unknown mode of coder 1";
  *body = payload.body;
  if (payload.nonzeros == 0) return nullptr;
  if (!body->varint(&head->period)) return "codebook payload: bad period";
  const uint32_t most = payload.columns > 2 ? payload.columns : 2;
  if (head->period < 2 || head->period > most) return "codebook payload: period is not 2 to the number of columns";
  if (payload.dense || payload.mode & kGapPositions) return nullptr;
  if (!body->byte(&head->weight[0]) || !body->byte(&head->weight[1])) return "codebook payload: cut short";
  return nullptr;
}

constexpr const char* kCutShort = "codebook payload: cut short";
constexpr const char* kTooFew = "codebook payload: fewer non-zeros than announced";

const char* decode_by_position(const Payload& payload, RangeModels* models, RangeDecoder* coder, RowFiller* rows) {
  uint32_t left = payload.nonzeros;
  for (uint32_t row = 0; row < payload.rows && left; ++row) {
    models->codes.next_row();
    if (!payload.dense) models->positions.next_row();
    const uint64_t row_begin = static_cast<uint64_t>(row) * payload.columns;
    for (uint32_t column = 0; left; ++column) {
      if (!payload.dense) column = models->positions.next_nonzero(coder, column);
      if (column == payload.columns) break;
      rows->put(row_begin + column, static_cast<uint16_t>(models->codes.code(coder, column, 0)));
      --left;
      if (coder->overrun()) return kCutShort;
    }
  }
  return left ? kTooFew : nullptr;
}

const char* decode_by_gap(const Payload& payload, RangeModels* models, RangeDecoder* coder, RowFiller* rows) {
  const uint64_t positions = static_cast<uint64_t>(payload.rows) * payload.columns;
  uint64_t position = 0, row_end = 0;
  for (uint32_t left = payload.nonzeros; left; --left, ++position) {
    uint32_t gap = 0;
    if (!models->gaps.code(coder, &gap) || (position += gap) >= positions) {
      return "codebook payload: position outside the matrix";
    }
    if (position >= row_end) {
      models->codes.next_row();
      row_end = (position / payload.columns + 1) * payload.columns;
    }
    const uint32_t column = static_cast<uint32_t>(position + payload.columns - row_end);
    rows->put(position, static_cast<uint16_t>(models->codes.code(coder, column, 0)));
    if (coder->overrun()) return kCutShort;
  }
  return nullptr;
}

}  // namespace

const char* range_scratch(const Payload& payload, size_t* bytes) {
  Reader body{nullptr, nullptr};
  RangeHead head;
  const char* wrong = read_range_head(payload, &body, &head);
  if (wrong) return wrong;
  Workspace space(nullptr);
  if (payload.nonzeros) RangeModels(payload, head, &space);
  *bytes = space.used();
  return nullptr;
}

const char* range_decode(const Payload& payload, const CodebookMatrix& out) {
  Reader body{nullptr, nullptr};
  RangeHead head;
  const char* wrong = read_range_head(payload, &body, &head);
  if (wrong) return wrong;
  RowFiller rows(payload, out);
  if (payload.nonzeros == 0) {
    rows.finish();
    return body.left() ? "codebook payload: bytes left over" : nullptr;
  }
  Workspace space(out.scratch);
  RangeModels models(payload, head, &space);
  models.start(payload, head, out.codebook);
  RangeDecoder coder(body);
  wrong = payload.mode & kGapPositions && !payload.dense ? decode_by_gap(payload, &models, &coder, &rows)
                                                          : decode_by_position(payload, &models, &coder, &rows);
  if (wrong) return wrong;
  rows.finish();
  return coder.finished() ? nullptr : "codebook payload: cut short, or bytes left over";
}

}  // namespace camfit::codec
