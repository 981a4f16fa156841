// Coder 2: gaps and codes as two strings of bytes, each under one static code: decodes many times as fast as coder 1.
#include "fast.h"

#include "payload.h"
#include "streams.h"
#include "workspace.h"

namespace camfit::codec {
namespace {

const char* read_fast_head(const Payload& payload, Reader* body, uint32_t* skips) {
  *body = payload.body;
  *skips = 0;
  if (payload.mode > (kHuffmanGaps | kHuffmanCodes)) return "codebook payload: unknown mode of coder 2";
  if (payload.entries > kMostSymbols) return "codebook payload: coder 2 with more than 256 codebook values";
  if (payload.dense || payload.nonzeros == 0) return nullptr;
  if (!body->varint(skips)) return "codebook payload: bad number of skips";
  const uint64_t positions = static_cast<uint64_t>(payload.rows) * payload.columns;
  if (*skips > (positions - payload.nonzeros) / kSkip) return "codebook payload: more skips than pruned positions";
  return nullptr;
}

struct FastSpace {
  FastSpace(const Payload& payload, uint32_t skips, Workspace* space)
      : table(space->take<uint16_t>(kWordTable)),
        codes(space->take<uint8_t>(payload.nonzeros)),
        gaps(space->take<uint8_t>(payload.dense ? 0 : size_t{payload.nonzeros} + skips)) {}
  uint16_t* table;
  uint8_t *codes, *gaps;
};

// All codes of a matrix in which nothing is pruned.
template <class Column>
void number_columns(const Payload& payload, const uint8_t* codes, const CodebookMatrix& out, Column* to) {
  for (uint32_t row = 0, e = 0; row < payload.rows; ++row) {
    out.row_begin[row] = e;
    for (uint32_t column = 0; column < payload.columns; ++column, ++e) {
      to[e] = static_cast<Column>(column);
      out.code[e] = codes[e];
    }
  }
  out.row_begin[payload.rows] = payload.nonzeros;
}

// Gaps and codes to rows, `to` being their columns.
template <class Column>
const char* merge(const Payload& payload, uint64_t gap_count, const FastSpace& from, const CodebookMatrix& out,
                  Column* to) {
  const uint32_t columns = payload.columns;
  uint32_t row = 0, done = 0;
  uint64_t column = 0;
  out.row_begin[0] = 0;
  if (gap_count && from.gaps[gap_count - 1] == kSkip) return "codebook payload: a skip behind the last non-zero";
  for (uint64_t i = 0; i < gap_count; ++i) {
    const uint32_t gap = from.gaps[i];
    column += gap;
    if (gap == kSkip) continue;
    while (column >= columns) {
      column -= columns;
      out.row_begin[++row] = done;
      if (row == payload.rows) return "codebook payload: position outside the matrix";
    }
    if (done == payload.nonzeros) return "codebook payload: more non-zeros than announced";
    to[done] = static_cast<Column>(column++);
    out.code[done] = from.codes[done];
    ++done;
  }
  if (done != payload.nonzeros) return "codebook payload: fewer non-zeros than announced";
  while (row < payload.rows) out.row_begin[++row] = done;
  return nullptr;
}

}  // namespace

const char* fast_scratch(const Payload& payload, size_t* bytes) {
  Reader body{nullptr, nullptr};
  uint32_t skips;
  const char* wrong = read_fast_head(payload, &body, &skips);
  if (wrong) return wrong;
  Workspace space(nullptr);
  FastSpace(payload, skips, &space);
  *bytes = space.used();
  return nullptr;
}

const char* fast_decode(const Payload& payload, const CodebookMatrix& out) {
  Reader body{nullptr, nullptr};
  uint32_t skips;
  const char* wrong = read_fast_head(payload, &body, &skips);
  if (wrong) return wrong;
  Workspace workspace(out.scratch);
  const FastSpace space(payload, skips, &workspace);
  const uint64_t gap_count = payload.nonzeros + uint64_t{skips};
  const bool gaps = !payload.dense && payload.nonzeros;
  // A string has at most 2^32 - 1 symbols, as the matrix has positions.
  if (gaps && (wrong = read_symbols(&body, payload.mode & kHuffmanGaps, kGapSymbols, static_cast<uint32_t>(gap_count),
                                    space.table, space.gaps))) {
    return wrong;
  }
  if (payload.nonzeros && (wrong = read_symbols(&body, payload.mode & kHuffmanCodes, payload.entries, payload.nonzeros,
                                                space.table, space.codes))) {
    return wrong;
  }
  if (body.left()) return "codebook payload: bytes left over";
  const auto place = [&](auto* columns) {
    if (gaps || !payload.dense) return merge(payload, gaps ? gap_count : 0, space, out, columns);
    number_columns(payload, space.codes, out, columns);
    return static_cast<const char*>(nullptr);
  };
  return out.column16 ? place(out.column16) : place(out.column);
}

const char* fast_decode_bytes(const Payload& payload, uint8_t* codes) {
  uint16_t table[kWordTable];
  Reader body{nullptr, nullptr};
  uint32_t skips;
  const char* wrong = read_fast_head(payload, &body, &skips);
  if (wrong) return wrong;
  if (payload.nonzeros && (wrong = read_symbols(&body, payload.mode & kHuffmanCodes, payload.entries, payload.nonzeros,
                                                table, codes))) {
    return wrong;
  }
  return body.left() ? "codebook payload: bytes left over" : nullptr;
}

}  // namespace camfit::codec
