// Graph convolution with one graph for all channels; the contract is in ski_edge/ops/graph_conv.h.
#include "cpu/contract.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Task (body): channels as products take them; only where those are pairs.
void graph_conv_pack(const GraphConvArgs& args, int task) {
  const Activation& x = args.x;
  pack_channels(x.body(task), x.channels, x.columns(),
                args.packed + static_cast<long>(task) * packed(x.channels) * x.columns());
}

// Task (body, panel of channels). scratch: values and, with a shortcut convolution, its output.
void graph_conv(const GraphConvArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y;
  const int columns = x.columns(), step = x.joint_step();
  const Panel panel = panel_of(task, y.channels);
  const long value_step = static_cast<long>(args.subsets) * packed(x.joints) * step;
  float* own = scratch + kRows * value_step;
  const float* from = kPack == 2 ? args.packed + static_cast<long>(panel.body) * packed(x.channels) * columns
                                 : x.body(panel.body);
  panel_values({args.value, args.shortcut, args.value_bias, args.subsets, y.channels}, from, x, panel,
               scratch, own);
  const Graphs graphs = {args.graph, static_cast<long>(packed(x.joints)) * x.joints, x.joints, args.subsets};
  for (int i = 0; i < panel.rows; ++i) {
    const int c = panel.first + i;
    const float* add = args.shortcut != nullptr ? own + static_cast<long>(i) * columns
                       : args.identity          ? x.body(panel.body) + static_cast<long>(c) * columns
                                                : nullptr;
    contract(graphs, scratch + i * value_step, x.joints, step, args.shift[c], add, args.least,
             y.body(panel.body) + static_cast<long>(c) * columns);
  }
}

// One frame at a time. Columns are joints then: a body's lie side by side in one row. Lanes beyond the last
// joint hold anything, and stay among themselves.
//
// Task (panel of channels), all bodies. scratch: values [panel rows][S][row].
void graph_conv_step(const GraphConvStepArgs& args, int task, float* scratch) {
  const Panel panel = panel_of(task, args.outputs);
  const int row = args.row, joints = args.joints;
  const long value_step = static_cast<long>(args.subsets) * row;
  for (int body = 0; body < args.bodies; ++body) {
    const float* x = args.x + static_cast<long>(body) * args.inputs * row;
    float* y = args.y + (static_cast<long>(body) * args.outputs + panel.first) * row;
    over_columns(row, [&](int column, auto vectors) __attribute__((always_inline)) {
      constexpr int Vectors = decltype(vectors)::value;
      for (int s = 0; s < args.subsets; ++s) {
        Sums<kRows, Vectors> sums;
        clear<kRows, Vectors>(sums);
        multiply<kRows, Vectors>(sums, args.value[s].panels + static_cast<long>(panel.first) * args.inputs,
                                 kRows, x + column, row, args.inputs);
        each_row<kRows>(panel.rows, [&](auto line) __attribute__((always_inline)) {
          constexpr int i = decltype(line)::value;
          const float bias = args.value_bias[s * args.outputs + panel.first + i];
          for (int j = 0; j < Vectors; ++j) {
            store(scratch + i * value_step + s * row + column + j * kLanes, sums[i][j] + bias);
          }
        });
      }
    });
    for (int i = panel.rows; i < kRows; ++i) {  // rows that are no channels: the product below reads them
      for (long k = 0; k < value_step; k += kLanes) store(scratch + i * value_step + k, Vec{});
    }
    over_columns(row, [&](int column, auto vectors) __attribute__((always_inline)) {
      constexpr int Vectors = decltype(vectors)::value;
      Sums<kRows, Vectors> sums;
      clear<kRows, Vectors>(sums);
      if (args.shortcut != nullptr) {
        multiply<kRows, Vectors>(sums, args.shortcut->panels + static_cast<long>(panel.first) * args.inputs,
                                 kRows, x + column, row, args.inputs);
      }
      for (int s = 0; s < args.subsets; ++s) {
        multiply_rows<kRows, Vectors>(sums, scratch + s * row, value_step,
                                      args.graph + static_cast<long>(s) * joints * joints + column, joints,
                                      joints);
      }
      each_row<kRows>(panel.rows, [&](auto line) __attribute__((always_inline)) {
        constexpr int i = decltype(line)::value;
        for (int j = 0; j < Vectors; ++j) {
          const int at = column + j * kLanes;
          Vec sum = sums[i][j] + args.shift[panel.first + i];
          if (args.identity) sum += load(x + static_cast<long>(panel.first + i) * row + at);
          store(y + i * row + at, max(sum, splat(args.least)));
        }
      });
    });
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
