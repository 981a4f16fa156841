// The form in which a linear layer with sparse weights runs: the cheapest of those that fit, by measured costs.
#include <cstring>

#include "linear_sparse/regroup.h"
#include "weight_holder.h"

namespace camfit {
namespace {

// Nanoseconds on one core (docs/engine.md); what counts is how they compare.
constexpr double kOfValue = 0.40;      // an entry of plain rows: gathers its input
constexpr double kOfPlace = 0.24;      // an entry of chunks, places left over included
constexpr double kOfBlock = 0.55;      // an entry of blocks
constexpr double kOfFarBlock = 1.50;   // the same from memory: a column and eight values are 36 bytes
constexpr double kOfCodedBlock = 0.58; // the same, whose values are looked up
constexpr double kOfTile = 6.5;
constexpr double kOfRest = 0.50;
constexpr double kOfCached = 0.044, kOfDistant = 0.050, kOfMemory = 0.13;  // a weight of panels, by where they lie

constexpr uint64_t kNearBytes = 2 << 20, kFarBytes = 16 << 20;  // of panels: common sizes of caches
constexpr uint64_t kManyEntries = 1 << 20;  // from which counting blocks takes milliseconds
constexpr int kSampled = 16;                // one in so many blocks of rows
constexpr double kNoChoice = 1.25;          // so much dearer by a sample than another form, blocks are no choice
constexpr uint64_t kManyValues = 1 << 20;  // bytes of values in blocks, from which codes are faster

double cost_of_panels(uint64_t elements) {
  const uint64_t bytes = sizeof(float) * elements;
  return double(elements) * (bytes <= kNearBytes ? kOfCached : bytes <= kFarBytes ? kOfDistant : kOfMemory);
}

double cost_of_blocks(uint64_t blocks, bool coded) {
  if (coded) return double(blocks) * kOfCodedBlock;
  const uint64_t bytes = blocks * (sizeof(uint32_t) + kBlockRows * sizeof(float));
  return double(blocks) * (bytes <= kFarBytes ? kOfBlock : kOfFarBlock);
}

// Code 0 is left to places without an entry, unless all 16 are in use.
uint32_t take_codebook(const SparseRows& rows, uint32_t entries, float* to, uint32_t most) {
  const uint32_t shift = entries < most;
  for (uint32_t i = 0; i < entries; ++i) to[i + shift] = rows.codebook[i];
  return shift;
}

bool hold_blocks(const Holder& at, const SparseMatrix& m, uint64_t count, bool coded, uint32_t entries,
                 HeldWeights* out) {
  const uint64_t blocks = (uint64_t(m.height) + kBlockRows - 1) / kBlockRows;
  SparseBlocks& form = out->linear.blocks = SparseBlocks();
  uint32_t* begin = at.allocator.take<uint32_t>(blocks + 1);
  uint32_t* column = at.allocator.take<uint32_t>(count);
  float* value = coded ? nullptr : at.allocator.take<float>(count * kBlockRows);
  uint32_t* codes = coded ? at.allocator.take<uint32_t>(count) : nullptr;
  if (!begin || !column || (!value && !codes)) return at.no_memory();
  count_blocks(m, begin);
  const uint32_t shift = coded ? take_codebook(m.rows, entries, form.codebook, kCodedEntries) : 0;
  fill_blocks(m, column, value, codes, shift);
  form.rows = m.height;
  form.begin = begin;
  form.column = column;
  form.value = value;
  form.codes = codes;
  out->held = Held::kLinearBlocks;
  return true;
}

bool hold_tiles(const Holder& at, const SparseMatrix& m, uint64_t rest, uint32_t entries, HeldWeights* out) {
  SparseTiles& form = out->linear.tiles = SparseTiles();
  uint32_t* word = at.allocator.take<uint32_t>(tile_words(m));
  uint32_t* begin = at.allocator.take<uint32_t>(uint64_t(m.height) + 1);
  uint16_t* column = at.allocator.take<uint16_t>(rest);
  uint16_t* code = at.allocator.take<uint16_t>(rest);
  if (!word || !begin || !column || !code) return at.no_memory();
  fill_tiles(m, word, begin, column, code);
  form.rows = m.height;
  form.columns = m.width;
  form.word = word;
  form.rest = SparseRows{begin, column, true, code, nullptr};
  take_codebook(m.rows, entries, form.codebook, 32);
  out->held = Held::kLinearTiles;
  return true;
}

bool hold_chunks(const Holder& at, const SparseMatrix& m, uint32_t* begin, uint16_t* counts, uint64_t chunks,
                 uint32_t entries, HeldWeights* out) {
  uint16_t* column = at.allocator.take<uint16_t>(4 * chunks);
  uint8_t* code = at.allocator.take<uint8_t>(chunks);
  float* codebook = at.allocator.take<float>(entries);
  if (!column || !code || !codebook) return at.no_memory();
  fill_chunks(m, entries, begin, counts, column, code);
  at.allocator.give(counts);
  std::memcpy(codebook, m.rows.codebook, entries * sizeof *codebook);
  out->linear.chunks = SparseChunks{m.height, m.width, begin, column, code, codebook};
  out->held = Held::kLinearChunks;
  return true;
}

bool hold_values(const Holder& at, const SparseMatrix& m, uint64_t nonzeros, HeldWeights* out) {
  uint32_t* begin = at.allocator.take<uint32_t>(uint64_t(m.height) + 1);
  const bool narrow = m.width <= 65536;
  uint16_t* column16 = narrow ? at.allocator.take<uint16_t>(nonzeros) : nullptr;
  uint32_t* column32 = narrow ? nullptr : at.allocator.take<uint32_t>(nonzeros);
  float* value = at.allocator.take<float>(nonzeros);
  if (!begin || (!column16 && !column32) || !value) return at.no_memory();
  std::memcpy(begin, m.rows.row_begin, (size_t(m.height) + 1) * sizeof *begin);
  for (uint64_t e = 0; e < nonzeros; ++e) {
    const uint32_t column = column_of(m.rows, e);
    if (narrow) {
      column16[e] = uint16_t(column);
    } else {
      column32[e] = column;
    }
    value[e] = value_of(m.rows, e);
  }
  const void* column = narrow ? static_cast<const void*>(column16) : column32;
  out->linear.rows = SparseRows{begin, column, narrow, nullptr, value};
  out->held = Held::kLinearRows;
  return true;
}

}  // namespace

bool hold_linear(const Holder& at, const SparseRows& rows, uint32_t entries, uint64_t nonzeros, HeldWeights* out,
                 bool* held) {
  const Weight& weight = *at.layer.weight;
  const SparseMatrix m = {rows, int(weight.rows()), int(weight.columns())};
  const double panels = cost_of_panels(weight.elements());
  const bool codes = rows.code;
  // The costs are those of vectors; and the plain set keeps to the order of the rows, as exported sources do.
  const bool regroups = at.kernels.linear_chunks != plain_kernels().linear_chunks;
  *held = false;
  if (!regroups) {
    *held = double(nonzeros) * kOfValue < panels;
    return !*held || hold_values(at, m, nonzeros, out);
  }
  if (kOfBlock * double(nonzeros) / kBlockRows >= panels) return true;  // no form is faster

  const int step = nonzeros >= kManyEntries ? kSampled : 1;
  uint64_t blocks = uint64_t(step) * count_blocks(m, nullptr, step);
  bool coded = false;
  const auto cost_by_blocks = [&] {
    const bool fit = entries < kCodedEntries || (entries == kCodedEntries && blocks * kBlockRows == nonzeros);
    coded = codes && fit && blocks * kBlockRows * sizeof(float) > kManyValues;
    return cost_of_blocks(blocks, coded);
  };
  double by_blocks = cost_by_blocks();
  const double by_values = double(nonzeros) * kOfValue;
  double least = by_values, by_tiles = by_values;
  uint64_t rest = 0, chunks = 0;
  if (at.kernels.linear_tiles && codes && entries < 32 && m.width <= 65536) {
    rest = count_rest(m);
    by_tiles = double(tile_words(m)) * kOfTile / (kTileEntries / 3 * kTileRows) + double(rest) * kOfRest;
    if (by_tiles < least) least = by_tiles;
  }
  double by_chunks = least;
  uint32_t* begin = nullptr;
  uint16_t* counts = nullptr;
  if (codes && entries <= 256 && double(nonzeros) * kOfPlace < (by_blocks < least ? by_blocks : least)) {
    const uint64_t column_blocks = (uint64_t(m.width) + kChunkColumns - 1) / kChunkColumns;
    begin = at.allocator.take<uint32_t>(column_blocks * uint64_t(m.height) + 1);
    counts = at.allocator.take<uint16_t>(column_blocks * uint64_t(m.height) * entries);
    if (!begin || !counts) return at.no_memory();
    chunks = count_chunks(m, entries, begin, counts);
    by_chunks = 4 * double(chunks) * kOfPlace;
    if (by_chunks < least) least = by_chunks;
  }
  bool may_block = true;
  if (step > 1) {
    may_block = by_blocks < kNoChoice * least;
    if (may_block) blocks = count_blocks(m, nullptr);
    by_blocks = cost_by_blocks();
  }
  if (may_block && by_blocks < least) least = by_blocks;
  *held = least < panels;
  if (*held && begin && by_chunks == least) return hold_chunks(at, m, begin, counts, chunks, entries, out);
  at.allocator.give(begin);
  at.allocator.give(counts);
  if (!*held) return true;
  if (may_block && by_blocks == least) return hold_blocks(at, m, blocks, coded, entries, out);
  if (by_values == least) return hold_values(at, m, nonzeros, out);
  return hold_tiles(at, m, rest, entries, out);
}

}  // namespace camfit
