// The way in which a convolution with sparse weights runs: the cheapest of those that its zeros allow, by measured costs.
#include <cstring>

#include "conv2d_columns/layout.h"
#include "conv2d_sparse/layout.h"
#include "weight_holder.h"
#include "linear_sparse/regroup.h"
#include "winograd/winograd.h"

namespace camfit {
namespace {

// Visits the entries of one row: visit(column, value), columns in panel order, (kernel, channel), within the row's group.
template <class Visit>
void visit_entries(const MatrixSource& source, uint32_t row, const Visit& visit) {
  const SparseRows& rows = source.sparse;
  const float* values = source.form == Form::kSparse ? source.values : nullptr;
  for (uint32_t e = rows.row_begin[row]; e < rows.row_begin[row + 1]; ++e) {
    visit(column_of(rows, e), values ? values[e] : rows.codebook[rows.code[e]]);
  }
}

// Visits the rows of panel `panel`, numbered over all groups: visit(lane, row).
template <class Visit>
void visit_rows(const Window& w, int panel, const Visit& visit) {
  const PanelPlace place = panel_place(w.out.channels, w.groups, panel);
  for (int lane = 0; lane < place.count; ++lane) visit(lane, uint32_t(place.first + lane));
}

// What a weight's zeros leave: columns of the lowered matrix, summed over the panels, and kernels.
struct Left {
  uint64_t columns, pairs;
};

// `mark`: one for each column.
Left count_left(const MatrixSource& source, const Window& w, uint32_t* mark) {
  const uint32_t columns = uint32_t(source.kernel * source.cin_group), channels = uint32_t(source.cin_group);
  Left left = {};
  std::memset(mark, 0, columns * sizeof *mark);
  for (int p = 0; p < panel_count(source); ++p) {
    visit_rows(w, p, [&](int, uint32_t row) {
      visit_entries(source, row, [&](uint32_t column, float) {
        left.columns += mark[column] != uint32_t(p) + 1;
        mark[column] = uint32_t(p) + 1;
      });
    });
  }
  std::memset(mark, 0, channels * sizeof *mark);
  for (uint32_t row = 0; row < uint32_t(source.cout); ++row) {
    visit_entries(source, row, [&](uint32_t column, float) {
      left.pairs += mark[column % channels] != row + 1;
      mark[column % channels] = row + 1;
    });
  }
  return left;
}

// Taps: sorted by block of input channels, then by row.
bool fill_taps(const Holder& at, HeldWeights* out) {
  const Window w = at.window();
  const SparseLayout layout = sparse_layout(w);
  const uint32_t cout = uint32_t(w.out.channels), cin = uint32_t(w.in.channels);
  const uint64_t segments = uint64_t(sparse_blocks(w, layout)) * cout;
  uint32_t* begin = at.allocator.take<uint32_t>(segments + 1);
  SparseTap* tap = at.allocator.take<SparseTap>(out->nonzeros);
  if (!begin || !tap) return at.no_memory();
  const auto segment_of = [&](uint32_t row, uint32_t column) {
    return uint64_t(column % cin / uint32_t(layout.channels)) * cout + row;
  };
  // Counts first, so that begin[s + 1] is where segment s begins; filling it moves that to its end.
  std::memset(begin, 0, (segments + 1) * sizeof *begin);
  for (uint32_t row = 0; row < cout; ++row) {
    visit_entries(out->source, row, [&](uint32_t column, float) {
      const uint64_t next = segment_of(row, column) + 2;
      if (next <= segments) ++begin[next];
    });
  }
  for (uint64_t s = 2; s <= segments; ++s) begin[s] += begin[s - 1];
  for (uint32_t row = 0; row < cout; ++row) {
    visit_entries(out->source, row, [&](uint32_t column, float value) {
      const int channel = int(column % cin), position = int(column / cin);
      const int64_t offset = sparse_offset(w, layout, channel, position / w.kernel_w, position % w.kernel_w);
      tap[begin[segment_of(row, column) + 1]++] = SparseTap{int32_t(offset), value};
    });
  }
  out->held = Held::kSparseConv;
  out->taps = SparseTaps{begin, tap};
  return true;
}

// `place`: one for each column.
bool fill_columns(const Holder& at, uint64_t used, uint32_t* place, HeldWeights* out) {
  const Window w = at.window();
  const MatrixSource& source = out->source;
  const ColumnsLayout layout = columns_layout(w);
  const uint32_t columns = uint32_t(source.kernel * source.cin_group), channels = uint32_t(source.cin_group);
  const int panels = panel_count(source);
  ColumnList* list = at.allocator.take<ColumnList>(uint64_t(panels));
  int32_t* offset = at.allocator.take<int32_t>(used);
  float* value = at.allocator.take<float>(used * kPanel);
  if (!list || !offset || !value) return at.no_memory();
  std::memset(value, 0, used * kPanel * sizeof *value);
  uint64_t filled = 0;  // columns of the panels so far
  uint32_t first = 0;   // where the offsets of the next panel go
  for (int p = 0; p < panels; ++p) {
    std::memset(place, 0, columns * sizeof *place);
    visit_rows(w, p, [&](int, uint32_t row) {
      visit_entries(source, row, [&](uint32_t column, float) { place[column] = 1; });
    });
    const uint32_t first_channel = uint32_t(panel_place(w.out.channels, w.groups, p).group) * channels;
    uint32_t count = 0;
    for (uint32_t column = 0; column < columns; ++column) {
      if (!place[column]) continue;
      const int position = int(column / channels), channel = int(first_channel + column % channels);
      place[column] = count;
      offset[first + count++] = int32_t(column_offset(w, layout, channel, position / w.kernel_w, position % w.kernel_w));
    }
    float* to = value + filled * kPanel;
    visit_rows(w, p, [&](int lane, uint32_t row) {
      visit_entries(source, row,
                    [&](uint32_t column, float v) { to[size_t(place[column]) * kPanel + size_t(lane)] = v; });
    });
    const bool as_before = p > 0 && list[p - 1].count == count &&
                           !std::memcmp(offset + list[p - 1].first, offset + first, count * sizeof *offset);
    list[p] = ColumnList{as_before ? list[p - 1].first : first, count, filled * kPanel};
    if (!as_before) first += count;
    filled += count;
  }
  out->held = Held::kColumns;
  out->columns = PanelColumns{list, offset, value};
  return true;
}

// `seen`: one for each input channel. Panels are transformed as for the dense kernel, and their kernels picked out.
bool fill_pairs(const Holder& at, int tile, uint64_t count, uint32_t* seen, HeldWeights* out) {
  const Window w = at.window();
  const MatrixSource& source = out->source;
  const uint32_t cin = uint32_t(source.cin_group);
  const size_t floats = winograd_panel_floats(w, tile), point_floats = size_t(cin) * kPanel;
  const size_t points = floats / point_floats;
  uint32_t* begin = at.allocator.take<uint32_t>(uint64_t(source.cout) + 1);
  uint32_t* channel = at.allocator.take<uint32_t>(count);
  float* value = at.allocator.take<float>(points * count);
  float* plain = at.allocator.take<float>(panel_floats(source));
  float* panel = at.allocator.take<float>(floats);
  if (!begin || !channel || !value || !plain || !panel) return at.no_memory();
  std::memset(seen, 0, cin * sizeof *seen);
  uint32_t filled = 0;
  for (int p = 0; p < panel_count(source); ++p) {
    fill_panel(source, at.kernels, p, plain);
    winograd_panel(w, tile, plain, panel);
    visit_rows(w, p, [&](int lane, uint32_t row) {
      begin[row] = filled;
      visit_entries(source, row, [&](uint32_t column, float) { seen[column % cin] = row + 1; });
      for (uint32_t c = 0; c < cin; ++c) {
        if (seen[c] != row + 1) continue;
        channel[filled] = c;
        for (size_t point = 0; point < points; ++point) {
          value[point * count + filled] = panel[point * point_floats + size_t(c) * kPanel + size_t(lane)];
        }
        ++filled;
      }
    });
  }
  begin[source.cout] = filled;
  at.allocator.give(plain);
  at.allocator.give(panel);
  out->held = Held::kPairs;
  out->pairs = ChannelPairs{tile, filled, begin, channel, value};
  return true;
}

}  // namespace

bool hold_sparse_conv(const Holder& at, HeldWeights* out, bool* held) {
  *held = false;
  if (at.mode == CAMFIT_MEMORY) return true;
  const Window w = at.window();
  const MatrixSource& source = out->source;
  const Kernels& kernels = at.kernels;
  const double density = double(out->nonzeros) / double(at.layer.weight->elements());
  const CostLine of_columns = kernels.conv2d_columns_cost(w);
  const int tile = kernels.winograd_pairs ? kernels.winograd_pairs_tile(w) : 0;
  const CostLine of_pairs = tile ? kernels.winograd_pairs_cost(w) : kNever;
  const double by_taps = kernels.conv2d_sparse_cost(w).at(density);
  double by_columns = of_columns.at(density), by_pairs = of_pairs.at(density);  // no zeros could make them cheaper
  Left left = {};
  uint32_t* room = nullptr;
  if (by_columns < 1 || by_pairs < 1) {
    const uint64_t columns = uint64_t(source.kernel) * uint64_t(source.cin_group);
    room = at.allocator.take<uint32_t>(columns);
    if (!room) return at.no_memory();
    left = count_left(source, w, room);
    by_columns = of_columns.at(double(left.columns) / (double(columns) * panel_count(source)));
    by_pairs = of_pairs.at(double(left.pairs) / (double(source.cout) * source.cin_group));
  }
  double least = by_taps < by_columns ? by_taps : by_columns;
  if (by_pairs < least) least = by_pairs;
  *held = least < 1;
  const bool filled = !*held               ? true
                      : by_taps == least   ? fill_taps(at, out)
                      : by_pairs == least  ? fill_pairs(at, tile, left.pairs, room, out)
                                           : fill_columns(at, left.columns, room, out);
  at.allocator.give(room);
  return filled;
}

}  // namespace camfit
