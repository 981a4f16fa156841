#include "encode_periods.h"

#include <algorithm>

namespace camfit::codec {
namespace {

constexpr uint32_t kLongestPeriod = 256;
constexpr size_t kTried = 4;

}  // namespace

std::vector<uint32_t> likely_periods(const EncodeInput& input, uint32_t rows) {
  const uint32_t longest = std::min(std::max(input.columns, 2u), kLongestPeriod);
  std::vector<uint64_t> pairs(longest + 1);  // of non-zeros, at each distance
  std::vector<int64_t> agreement(longest + 1);  // sum over the pairs of the product of the codes' sides
  std::vector<std::pair<uint32_t, int>> recent;  // non-zeros of the row: column, side of the middle code
  uint64_t nonzeros = 0;
  for (uint32_t row = 0; row < rows; ++row) {
    recent.clear();
    const int32_t* index = input.index + static_cast<uint64_t>(row) * input.columns;
    for (uint32_t column = 0; column < input.columns; ++column) {
      if (index[column] < 0) continue;
      const int side = static_cast<uint32_t>(index[column]) < input.entries / 2 ? -1 : 1;
      for (size_t i = recent.size(); i-- > 0 && column - recent[i].first <= longest;) {
        ++pairs[column - recent[i].first];
        agreement[column - recent[i].first] += side * recent[i].second;
      }
      recent.emplace_back(column, side);
      ++nonzeros;
    }
  }
  // Against chance: the squares of the deviations in units of their spread.
  std::vector<std::pair<double, uint32_t>> score;
  const double density = static_cast<double>(nonzeros) / (static_cast<double>(rows) * input.columns);
  for (uint32_t period = 2; period <= longest; ++period) {
    const double places = static_cast<double>(rows) * (input.columns > period ? input.columns - period : 0);
    const double expected = places * density * density + 1, excess = static_cast<double>(pairs[period]) - expected;
    const double agreed = static_cast<double>(agreement[period]);
    const double squares = (excess > 0 ? excess * excess / expected : 0) + agreed * agreed / (pairs[period] + 1.0);
    score.emplace_back(-squares, period);
  }
  std::sort(score.begin(), score.end());
  std::vector<uint32_t> best;
  for (size_t i = 0; i < score.size() && i < kTried; ++i) best.push_back(score[i].second);
  return best;
}

}  // namespace camfit::codec
