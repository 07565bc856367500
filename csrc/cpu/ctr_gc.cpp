// Topology-refined graph convolution; the contract is in ski_edge/ops/ctr_gc.h.
#include "cpu/contract.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Task (body, group of kCtrGcMeanRows channels): means over the valid frames, and the channels as products
// take them.
void ctr_gc_means(const CtrGcArgs& args, int task) {
  const Activation& x = args.x;
  const int groups = (x.channels + kCtrGcMeanRows - 1) / kCtrGcMeanRows;
  const int body = task / groups, first = task % groups * kCtrGcMeanRows;
  const int end = first + kCtrGcMeanRows < x.channels ? first + kCtrGcMeanRows : x.channels;
  const float scale = 1.0f / static_cast<float>(x.frames);
  for (int c = first; c < end; ++c) {
    const float* row = x.body(body) + static_cast<long>(c) * x.columns();
    float* to = args.means + (static_cast<long>(body) * x.channels + c) * args.joint_row;
    for (int v = 0; v < x.joints; ++v) {
      float sum = 0;
      for (int part = 0; part < x.parts(); ++part) {
        const float* at = row + v * x.joint_step() + part * x.part_step();
        const int frames = x.part_frames(part);
        Vec lanes = Vec{};
        int t = 0;
        for (; t + kLanes <= frames; t += kLanes) lanes += load(at + t);
        sum += total(lanes);
        for (; t < frames; ++t) sum += at[t];
      }
      to[v] = sum * scale;
    }
    for (int v = x.joints; v < args.joint_row; ++v) to[v] = 0;
  }
  if (kPack == 2) {
    const long columns = x.columns();
    pack_channels(x.body(body) + first * columns, end - first, columns,
                  args.packed + (static_cast<long>(body) * packed(x.channels) + first / 2) * columns);
  }
}

// Task (body, subset). scratch: queries and keys [2 R, whole panels][joint_row], then a pair's rows.
void ctr_gc_tangents(const CtrGcArgs& args, int task, float* scratch) {
  const int joints = args.x.joints, relations = args.relations, row = args.joint_row;
  const int body = task / args.subsets, subset = task % args.subsets;
  const Matrix& relation = args.relation[subset];
  const float* bias = args.relation_bias + 2 * subset * relations;
  const float* means = args.means + static_cast<long>(body) * args.x.channels * row;
  for (int first = 0; first < relation.rows; first += kRows) {
    const float* panel = relation.panels + static_cast<long>(first) * relation.depth;
    over_columns(row, [&](int column, auto vectors) __attribute__((always_inline)) {
      constexpr int Vectors = decltype(vectors)::value;
      Sums<kRows, Vectors> sums;
      clear<kRows, Vectors>(sums);
      multiply<kRows, Vectors, 1>(sums, panel, kRows, means + column, row, relation.depth);
      for (int i = 0; i < kRows; ++i) {
        for (int j = 0; j < Vectors; ++j)
          store(scratch + (first + i) * row + column + j * kLanes, sums[i][j]);
      }
    });
  }
  // The last vector of a key reaches into the next key's pairs, which are written after it.
  const auto differences = [&](int r, float* to) {
    const float* query = scratch + r * row;
    const float* key = scratch + (relations + r) * row;
    for (int v = 0; v < joints; ++v) {
      const float offset = bias[r] - bias[relations + r] - key[v];
      for (int u = 0; u < joints; u += kLanes) store(to + v * joints + u, load(query + u) + offset);
    }
  };
  float* to =
      args.tangents + (static_cast<long>(body) * args.subsets + subset) * packed(relations) * args.pair_row;
  for (int r = 0; r < relations; r += kPack, to += args.pair_row) {
    differences(r, to);
#if defined(SKI_EDGE_BF16)
    float* next = scratch + (2 * relations + kRows) * row;
    if (r + 1 < relations) differences(r + 1, next);
#endif
    for (int pair = 0; pair < joints * joints; pair += kLanes) {
      Vec value = tanh(load(to + pair));
#if defined(SKI_EDGE_BF16)
      value = pack(value, r + 1 < relations ? tanh(load(next + pair)) : Vec{});
#endif
      store(to + pair, value);
    }
    for (int pair = joints * joints; pair < args.pair_row; ++pair) to[pair] = 0;
  }
}

// Of the channels of one panel: expand . tangents + expand_bias + adjacency, as `contract` reads them.
SKI_EDGE_INLINE void refined_graphs(const CtrGcArgs& args, const Panel& panel, float* graphs) {
  const int joints = args.x.joints, row = args.pair_row;
  for (int s = 0; s < args.subsets; ++s) {
    const Matrix& expand = args.expand[s];
    const float* weights = expand.panels + static_cast<long>(panel.first) * expand.depth;
    const float* tangents =
        args.tangents + (static_cast<long>(panel.body) * args.subsets + s) * packed(args.relations) * row;
    const float* bias = args.expand_bias + s * expand.rows + panel.first;
    const float* adjacency = args.adjacency + s * row;
    const auto tile = [&](int column, long gap, auto vectors,
                          const auto& put) __attribute__((always_inline)) {
      constexpr int Vectors = decltype(vectors)::value;
      Sums<kRows, Vectors> sums;
      for (int j = 0; j < Vectors; ++j) {
        const Vec fixed = load(adjacency + column + j * gap);
        for (int i = 0; i < kRows; ++i) sums[i][j] = fixed;
      }
      multiply<kRows, Vectors>(sums, weights, kRows, tangents + column, row, expand.depth, gap);
      each_row<kRows>(panel.rows, [&](auto line) __attribute__((always_inline)) {
        constexpr int i = decltype(line)::value;
        Vec row_sums[Vectors];
        for (int j = 0; j < Vectors; ++j) row_sums[j] = sums[i][j] + bias[i];
        put(graphs + (i * args.subsets + s) * args.graph_step, row_sums);
      });
    };
#if defined(SKI_EDGE_BF16)
    for (int v = 0; v < joints; v += 2) {
      for (int u = 0; u < joints; u += kLanes) {
        const auto put = [&](float* to, const Vec* sum, Vec other) {
          store(to + v / 2 * args.joint_row + u, pack(sum[0], other));
        };
        if (v + 1 < joints) {
          tile(v * joints + u, joints, Constant<2>{},
               [&](float* to, const Vec* sum) { put(to, sum, sum[1]); });
        } else {
          tile(v * joints + u, joints, Constant<1>{},
               [&](float* to, const Vec* sum) { put(to, sum, Vec{}); });
        }
      }
    }
#else
    over_columns((joints * joints + kLanes - 1) / kLanes * kLanes,
                 [&](int column, auto vectors) __attribute__((always_inline)) {
                   tile(column, kLanes, vectors,
                        [&](float* to, const Vec* sum) __attribute__((always_inline)) {
                          for (int j = 0; j < decltype(vectors)::value; ++j)
                            store(to + column + j * kLanes, sum[j]);
                        });
                 });
#endif
  }
}

// Task (body, panel of channels). scratch: graphs, values and, with a shortcut convolution, its output.
void ctr_gc_channels(const CtrGcArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y;
  const int columns = x.columns(), step = x.joint_step();
  const Panel panel = panel_of(task, y.channels);
  float* graphs = scratch;
  float* values = graphs + kRows * args.subsets * args.graph_step;
  float* own = values + static_cast<long>(kRows) * args.subsets * packed(x.joints) * step;
  refined_graphs(args, panel, graphs);
  const float* from = kPack == 2 ? args.packed + static_cast<long>(panel.body) * packed(x.channels) * columns
                                 : x.body(panel.body);
  panel_values({args.value, args.shortcut, args.value_bias, args.subsets, y.channels}, from, x, panel, values,
               own);
  for (int i = 0; i < panel.rows; ++i) {
    const int c = panel.first + i;
    const Graphs graph = {graphs + i * args.subsets * args.graph_step, args.graph_step,
                          kPack == 2 ? args.joint_row : x.joints, args.subsets};
    const float* add = args.shortcut != nullptr ? own + static_cast<long>(i) * columns
                                                : x.body(panel.body) + static_cast<long>(c) * columns;
    contract(graph, values + static_cast<long>(i) * args.subsets * packed(x.joints) * step, x.joints, step,
             args.shift[c], add, 0, y.body(panel.body) + static_cast<long>(c) * columns);
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
