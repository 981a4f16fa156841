// The writer of coder 1; the reader is range.cpp.
#include <utility>

#include "encode_parts.h"
#include "payload.h"
#include "encode_periods.h"
#include "range_encoder.h"
#include "range_models.h"

namespace camfit::codec {
namespace {

// Above these a layer takes the faster, slightly larger mode, so that none takes long to load.
constexpr uint64_t kMostModelledPositions = uint64_t{1} << 25;
constexpr uint32_t kMostMixedCodes = 1u << 20;
constexpr uint32_t kTrialPositions = 1u << 20;  // of the first rows, on which periods are compared

struct Costs {
  uint64_t positions = 0, codes = 0;
  uint64_t all() const { return positions + codes; }
};

bool by_gap(const Payload& payload) { return payload.mode & kGapPositions && !payload.dense; }
bool by_position(const Payload& payload) { return !(payload.mode & kGapPositions) && !payload.dense; }

// Passes the first `rows` rows through the models, as the reader will. `total` tells what was spent so far.
template <class Coder, class Total>
Costs pass(const EncodeInput& input, uint32_t rows, const Payload& payload, RangeModels* models, Coder* coder,
           Total total) {
  Costs costs;
  uint32_t left = input.nonzeros, gap = 0;
  const int32_t* index = input.index;
  for (uint32_t row = 0; row < rows && left; ++row) {
    bool begun = false;
    if (by_position(payload)) models->positions.next_row();
    for (uint32_t column = 0; column < input.columns && left; ++column, ++index) {
      const uint64_t before = total();
      if (by_position(payload)) models->positions.nonzero(coder, column, *index >= 0);
      if (*index >= 0 && by_gap(payload)) models->gaps.code(coder, &gap);
      const uint64_t between = total();
      costs.positions += between - before;
      if (*index < 0) {
        ++gap;
        continue;
      }
      gap = 0;
      if (!begun) models->codes.next_row();
      begun = true;
      models->codes.code(coder, column, static_cast<uint32_t>(*index));
      costs.codes += total() - between;
      --left;
    }
  }
  return costs;
}

class RangeWriter {
 public:
  RangeWriter(const EncodeInput& input, const float* codebook) : input_(input), codebook_(codebook) {
    payload_.rows = input.rows;
    payload_.columns = input.columns;
    payload_.entries = input.entries;
    payload_.nonzeros = input.nonzeros;
    payload_.dense = input.dense();
  }

  // Estimated bits * 2^16, and the weights that the position model learnt on the way.
  Costs measure(uint8_t mode, uint32_t period, uint32_t rows, RangeHead* head) {
    payload_.mode = mode;
    head->period = period;
    RangeModels models = make_models(*head);
    RateMeter meter;
    const Costs costs = pass(input_, rows, payload_, &models, &meter, [&meter] { return meter.bits16(); });
    if (by_position(payload_)) models.positions.learnt_weights(head->weight);
    return costs;
  }

  void write(uint8_t mode, const RangeHead& head, std::vector<uint8_t>* out) {
    payload_.mode = mode;
    put_varint(out, head.period);
    if (by_position(payload_)) out->insert(out->end(), head.weight, head.weight + 2);
    RangeModels models = make_models(head);
    RangeEncoder coder(out);
    pass(input_, input_.rows, payload_, &models, &coder, [] { return uint64_t{0}; });
    coder.finish();
  }

 private:
  RangeModels make_models(const RangeHead& head) {
    Workspace count(nullptr);
    RangeModels(payload_, head, &count);
    memory_.assign(count.used() / 8 + 1, 0);
    Workspace space(memory_.data());
    RangeModels models(payload_, head, &space);
    models.start(payload_, head, codebook_);
    return models;
  }

  const EncodeInput& input_;
  const float* codebook_;
  Payload payload_;
  std::vector<uint64_t> memory_;
};

uint32_t best_period(const EncodeInput& input, RangeWriter* writer, uint8_t mode) {
  const uint32_t rows = input.columns > kTrialPositions ? 1 : kTrialPositions / input.columns;
  const uint32_t trial_rows = rows < input.rows ? rows : input.rows;
  uint32_t best = 2;
  uint64_t least = UINT64_MAX;
  for (uint32_t period : likely_periods(input, trial_rows)) {
    RangeHead head;
    const uint64_t cost = writer->measure(mode, period, trial_rows, &head).all();
    if (cost < least) {
      least = cost;
      best = period;
    }
  }
  return best;
}

}  // namespace

uint8_t range_encode(const EncodeInput& input, const CodebookEncodeOptions& options, const float* codebook,
                     std::vector<uint8_t>* out, CodebookSizes* sizes) {
  if (input.nonzeros == 0) return 0;
  RangeWriter writer(input, codebook);
  const uint8_t codes = options.fast || input.nonzeros > kMostMixedCodes ? kPlainCodes : 0;
  const bool gaps_only = !input.dense() && (options.fast || input.positions() > kMostModelledPositions);
  uint8_t mode = static_cast<uint8_t>(codes | (gaps_only ? kGapPositions : 0));
  const uint32_t period = mode == (kGapPositions | kPlainCodes) ? 2 : best_period(input, &writer, mode);
  RangeHead head;
  Costs costs = writer.measure(mode, period, input.rows, &head);
  if (!input.dense() && !gaps_only) {
    RangeHead gap_head;
    const uint8_t gap_mode = static_cast<uint8_t>(codes | kGapPositions);
    const Costs gap_costs = writer.measure(gap_mode, period, input.rows, &gap_head);
    if (gap_costs.all() < costs.all()) {
      mode = gap_mode;
      head = gap_head;
      costs = gap_costs;
    }
  }
  const size_t start = out->size();
  writer.write(mode, head, out);
  const uint64_t bytes = out->size() - start;
  sizes->indices = costs.all() ? static_cast<uint64_t>(static_cast<double>(bytes) * costs.positions / costs.all()) : 0;
  sizes->codes = bytes - sizes->indices;
  return mode;
}

}  // namespace camfit::codec
