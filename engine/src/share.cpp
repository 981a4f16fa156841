// How the work of a step is shared among threads.
#include "engine.h"

namespace camfit {
namespace {

// Handing out and joining a part costs about a microsecond while the workers are awake; a part must be worth it.
constexpr double kLeastNanoseconds = 1500;

// A rough guess at the time of a step on one thread, good enough to tell whether sharing pays: nanoseconds of one
// multiply-accumulate, or of one element, measured with the AVX2 kernels; the plain ones are slower where it matters.
// Ops that do little more than read count double or more: each thread then finds its input in its own cache.
double estimated_nanoseconds(const Step& step, uint64_t layer_work, bool plain) {
  const double work = double(layer_work);
  const double in = double(step.window.in.size()), out = double(step.window.out.size());
  const double slower = plain ? 16 : 1;
  switch (step.work) {
    case Work::kConv: return 0.02 * work * slower;
    case Work::kWinograd: return 0.008 * work;
    case Work::kConvExpand: return 0.03 * work * slower;
    case Work::kConvSparse: {
      const double taps = double(step.weights.nonzeros), pixels = out / double(step.window.out.channels);
      return 0.02 * taps * pixels * slower + 0.3 * (in + out);
    }
    case Work::kConvColumns: return 0.02 * double(step.weights.nonzeros) * out / double(step.window.out.channels) * slower;
    case Work::kWinogradPairs:
      return 0.01 * double(step.weights.nonzeros) * out / double(step.window.out.channels) + 0.6 * (in + out);
    case Work::kDepthwise: return 0.1 * work * slower;
    case Work::kLinear: return 0.04 * work * slower;
    case Work::kLinearExpand: return 1.0 * work;
    case Work::kLinearCodebook:
    case Work::kLinearSparse:
    case Work::kLinearRows: return 0.4 * double(step.weights.nonzeros);
    case Work::kLinearChunks: return 0.3 * double(step.weights.nonzeros);
    case Work::kLinearBlocks:
    case Work::kLinearTiles: return 0.15 * double(step.weights.nonzeros) * (plain ? 8 : 1);
    case Work::kLinearHashed: return 2.0 * work * (plain ? 4 : 1);
    case Work::kPackSigns: return 0.2 * in * slower;
    case Work::kBoxFilter: return 0.5 * double(step.window.kernel_h * step.window.kernel_w) * double(step.rows.count) *
                                  double(step.window.out.width);
    case Work::kBinaryConv: return 0.004 * work * (plain ? 4 : 1);
    case Work::kMaxPool:
    case Work::kAvgPool: return 0.2 * work * slower;
    case Work::kCopyChannels:
    case Work::kChannelShuffle: return 0.3 * in;
    case Work::kDepthToSpace:
    case Work::kSlice: return 0.3 * out;
    case Work::kAdd:
    case Work::kActivation:
    case Work::kAffine: return 0.4 * out;
    case Work::kInt8Conv: return 0.01 * work * (plain ? 32 : 1);
    case Work::kInt8Depthwise: return 0.06 * work * (plain ? 16 : 1);
    case Work::kInt8Linear: return 0.02 * work * slower;
    case Work::kInt8MaxPool: return 0.05 * work * slower;
    case Work::kInt8AvgPool: return work;
    case Work::kQuantize:
    case Work::kDequantize: return 0.3 * out;
    case Work::kInt8Add: return 0.3 * out;
    case Work::kInt8Clamp: return 0.05 * out;
    case Work::kInt8Shuffle: return in;
    case Work::kGlobalAvgPool:
    case Work::kInt8GlobalAvgPool:
    case Work::kFlatten:
    case Work::kInt8Flatten:
    case Work::kSoftmax: break;  // not shared
  }
  return 0;
}

int at_most(int value, int limit) { return value < limit ? value : limit; }

// Whether Winograd's way is better cut by panels, and into how many parts. Parts of the rows read all weights each, parts of
// the panels transform all of the input each, which costs about half as much as the products of one panel.
bool cuts_panels(const Step& step, int threads, int* parts) {
  constexpr int kPanelsOfPart = 4;
  const bool many = step.columns.count >= kPanelsOfPart * threads;
  if (!many && (step.rows.units() >= *parts || step.columns.units() < threads)) return false;
  const int enough = step.columns.count / kPanelsOfPart;
  *parts = at_most(*parts, enough > threads ? enough : threads);
  return true;
}

}  // namespace

void choose_parts(Step* step, uint64_t layer_work, int threads, bool plain) {
  if (threads == 1) return;
  const double worth = estimated_nanoseconds(*step, layer_work, plain) / kLeastNanoseconds;
  // Two parts a thread, so that a thread that is held up leaves the rest of its share to the others; else one.
  int parts = worth >= 2 * threads ? 2 * threads : worth < threads ? int(worth) : threads;
  if (parts < 2) return;
  // An expanded panel is dear, so it is better not expanded twice; else the axis that divides more evenly is cut.
  const bool by_columns = step->work == Work::kConvExpand ? step->columns.units() >= parts
                          : step->work == Work::kWinograd ? cuts_panels(*step, threads, &parts)
                                                          : step->columns.units() > step->rows.units();
  Axis& first = by_columns ? step->columns : step->rows;
  Axis& second = by_columns ? step->rows : step->columns;
  first.parts = at_most(parts, first.units());
  second.parts = at_most((parts + first.parts - 1) / first.parts, second.units());
}

}  // namespace camfit
