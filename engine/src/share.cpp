// How the work of a step is shared among threads.
#include "engine.h"

namespace camfit {
namespace {

// Waking and joining threads costs a few microseconds; a part smaller than this many multiply-accumulates is not worth it.
constexpr uint64_t kLeastPart = 1 << 15;

}  // namespace

void choose_parts(Step* step, uint64_t work, int threads) {
  const bool whole = step->work == Work::kGlobalAvgPool || step->work == Work::kFlatten || step->work == Work::kSoftmax;
  uint64_t wanted = work / kLeastPart;
  // Two parts a thread, so that a thread that is held up leaves the rest of its share to the other.
  if (wanted > 2 * uint64_t(threads)) wanted = 2 * uint64_t(threads);
  if (threads == 1 || whole || wanted < 2) return;
  const int parts = int(wanted);
  // An expanded panel is dear, so it is better shared by panels; else by whichever axis divides more evenly.
  const bool expands = step->work == Work::kConvExpand;
  const int rows = step->rows.units(), columns = step->columns.units();
  if (rows >= parts && !(expands && columns >= parts)) {
    step->rows.parts = parts;
  } else if (columns >= parts) {
    step->columns.parts = parts;
  } else if (rows >= columns) {
    step->rows.parts = rows;
    step->columns.parts = columns < (parts + rows - 1) / rows ? columns : (parts + rows - 1) / rows;
  } else {
    step->columns.parts = columns;
    step->rows.parts = rows < (parts + columns - 1) / columns ? rows : (parts + columns - 1) / columns;
  }
}

}  // namespace camfit
