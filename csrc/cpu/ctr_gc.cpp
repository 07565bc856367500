// Topology-refined graph convolution; the contract is in ski_edge/ops/ctr_gc.h.
#include "cpu/contract.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Task (body, group of kCtrGcMeanRows channels): means over the valid frames.
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
        for (int i = 0; i < kLanes; ++i) sum += lanes[i];
        for (; t < frames; ++t) sum += at[t];
      }
      to[v] = sum * scale;
    }
    for (int v = x.joints; v < args.joint_row; ++v) to[v] = 0;
  }
}

// Task (body, subset). scratch: [2 R padded to panels][joint_row].
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
      multiply<kRows, Vectors>(sums, panel, kRows, means + column, row, relation.depth);
      for (int i = 0; i < kRows; ++i) {
        for (int j = 0; j < Vectors; ++j)
          store(scratch + (first + i) * row + column + j * kLanes, sums[i][j]);
      }
    });
  }
  for (int r = 0; r < relations; ++r) {
    const float* query = scratch + r * row;
    const float* key = scratch + (relations + r) * row;
    float* to =
        args.tangents + ((static_cast<long>(body) * args.subsets + subset) * relations + r) * args.pair_row;
    // The last vector of a key reaches into the next key's pairs, which are written after it.
    for (int v = 0; v < joints; ++v) {
      const float offset = bias[r] - bias[relations + r] - key[v];
      for (int u = 0; u < joints; u += kLanes) store(to + v * joints + u, load(query + u) + offset);
    }
    for (int pair = 0; pair < joints * joints; pair += kLanes) store(to + pair, tanh(load(to + pair)));
  }
}

// graphs[i][s][v][u] of the channels of one panel: expand . tangents + expand_bias + adjacency.
SKI_EDGE_INLINE void refined_graphs(const CtrGcArgs& args, int body, int panel, int rows, float* graphs) {
  const int pairs = args.x.joints * args.x.joints, row = args.pair_row;
  const int columns = (pairs + kLanes - 1) / kLanes * kLanes;
  for (int s = 0; s < args.subsets; ++s) {
    const Matrix& expand = args.expand[s];
    const float* weights = expand.panels + static_cast<long>(panel) * kRows * expand.depth;
    const float* tangents =
        args.tangents + (static_cast<long>(body) * args.subsets + s) * args.relations * row;
    const float* bias = args.expand_bias + s * expand.rows + panel * kRows;
    const float* adjacency = args.adjacency + s * row;
    over_columns(columns, [&](int column, auto vectors) __attribute__((always_inline)) {
      constexpr int Vectors = decltype(vectors)::value;
      Sums<kRows, Vectors> sums;
      for (int j = 0; j < Vectors; ++j) {
        const Vec fixed = load(adjacency + column + j * kLanes);
        for (int i = 0; i < kRows; ++i) sums[i][j] = fixed;
      }
      multiply<kRows, Vectors>(sums, weights, kRows, tangents + column, row, expand.depth);
      for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < Vectors; ++j) {
          store(graphs + (i * args.subsets + s) * row + column + j * kLanes, sums[i][j] + bias[i]);
        }
      }
    });
  }
}

// Task (body, panel of channels). scratch: graphs, values and, with a shortcut convolution, its output.
void ctr_gc_channels(const CtrGcArgs& args, int task, float* scratch) {
  const int channels = args.y.channels, columns = args.x.columns();
  const int panels = (channels + kRows - 1) / kRows;
  const int body = task / panels, panel = task % panels;
  const int rows = channels - panel * kRows < kRows ? channels - panel * kRows : kRows;
  float* graphs = scratch;
  float* values = graphs + kRows * args.subsets * args.pair_row;
  float* own = values + static_cast<long>(kRows) * args.subsets * columns;
  refined_graphs(args, body, panel, rows, graphs);
  panel_values(args.x, body, panel, rows, channels, args.subsets, args.value, args.value_bias, args.shortcut,
               values, own);
  for (int i = 0; i < rows; ++i) {
    const int c = panel * kRows + i;
    const float* add = args.shortcut != nullptr ? own + static_cast<long>(i) * columns
                                                : args.x.body(body) + static_cast<long>(c) * columns;
    contract(graphs + i * args.subsets * args.pair_row, args.pair_row,
             values + static_cast<long>(i) * args.subsets * columns, columns, args.subsets, args.x.joints,
             args.x.joint_step(), args.shift[c], add, args.y.body(body) + static_cast<long>(c) * columns);
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
