// The part of a payload that coder 1 adds, and the models it asks for.
#pragma once
#include <cstdint>

#include "code_model.h"
#include "gap_model.h"
#include "mixing.h"
#include "payload.h"
#include "position_model.h"
#include "workspace.h"

namespace camfit::codec {

enum RangeMode : uint8_t { kGapPositions = 1, kPlainCodes = 2 };  // bits

struct RangeHead {
  uint32_t period = 2;
  uint8_t weight[2] = {0, 0};  // of the position contexts, in 1/128
};

// Both directions build their models by this, so that they agree on the work space.
struct RangeModels {
  RangeModels(const Payload& payload, const RangeHead& head, Workspace* space)
      : tables(space->take<MixTables>(1)),
        codes(payload, head.period, tables, space),
        positions(payload, head.period, tables, space),
        gaps(tables, space) {}

  void start(const Payload& payload, const RangeHead& head, const float* codebook) {
    tables->build();
    codes.start(codebook, payload.mode & kPlainCodes);
    if (payload.dense) return;
    if (payload.mode & kGapPositions) {
      gaps.start();
    } else {
      positions.start(payload, head.weight);
    }
  }

  MixTables* tables;
  CodeModel codes;
  PositionModel positions;
  GapModel gaps;
};

}  // namespace camfit::codec
