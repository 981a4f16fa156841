#include "encode_prefix.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace camfit::codec {
namespace {

// Lengths of an optimal prefix code; 0 for a symbol that never occurs. Ties go to the older node, so that equal counts
// give equal codes everywhere.
std::vector<uint32_t> tree_lengths(const std::vector<uint64_t>& count) {
  using Node = std::pair<uint64_t, uint32_t>;  // weight, number
  std::priority_queue<Node, std::vector<Node>, std::greater<Node>> open;
  std::vector<uint32_t> length(count.size(), 0), leaf, parent;
  for (uint32_t s = 0; s < count.size(); ++s) {
    if (!count[s]) continue;
    open.push({count[s], static_cast<uint32_t>(leaf.size())});
    leaf.push_back(s);
  }
  if (leaf.size() == 1) length[leaf[0]] = 1;
  if (leaf.size() < 2) return length;
  parent.resize(2 * leaf.size() - 1);
  for (uint32_t next = static_cast<uint32_t>(leaf.size()); open.size() > 1; ++next) {
    const Node a = open.top();
    open.pop();
    const Node b = open.top();
    open.pop();
    parent[a.second] = parent[b.second] = next;
    open.push({a.first + b.first, next});
  }
  std::vector<uint32_t> depth(parent.size(), 0);
  for (uint32_t node = static_cast<uint32_t>(parent.size()) - 1; node-- > 0;) {
    depth[node] = depth[parent[node]] + 1;
    if (node < leaf.size()) length[leaf[node]] = depth[node];
  }
  return length;
}

}  // namespace

PrefixCode make_prefix_code(std::vector<uint64_t> count, uint32_t longest) {
  PrefixCode code;
  for (;;) {  // flatten the counts until the longest word fits
    code.length = tree_lengths(count);
    if (*std::max_element(code.length.begin(), code.length.end()) <= longest) break;
    for (uint64_t& c : count) c = (c + 1) / 2;
  }
  code.word.resize(count.size());
  uint32_t word = 0;
  for (uint32_t length = 1; length <= longest; ++length, word <<= 1) {
    for (size_t s = 0; s < count.size(); ++s) {
      if (code.length[s] == length) code.word[s] = word++;
    }
  }
  return code;
}

}  // namespace camfit::codec
