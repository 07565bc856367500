// One frame at a time; the contract is `step` in ski_edge/ops/graph_conv.h and temporal.h.
//
// With a single frame, columns are joints: a body's lie side by side in one row. Lanes beyond the last joint
// hold anything, and stay among themselves.
#include "cpu/contract.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Task (panel of channels), all bodies. scratch: values [panel rows][S][row].
void graph_step(const GraphStepArgs& args, int task, float* scratch) {
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
          store(y + i * row + at, relu(sum));
        }
      });
    });
  }
}

// Task (panel of channels), all bodies.
void taps_step(const TapsStepArgs& args, int task) {
  const Panel panel = panel_of(task, args.outputs);
  const int row = args.row;
  for (int body = 0; body < args.bodies; ++body) {
    const float* residual = args.residual == nullptr
                                ? nullptr
                                : args.residual + static_cast<long>(body) * args.residual_channels * row;
    float* y = args.y + (static_cast<long>(body) * args.outputs + panel.first) * row;
    over_columns(row, [&](int column, auto vectors) __attribute__((always_inline)) {
      constexpr int Vectors = decltype(vectors)::value;
      Sums<kRows, Vectors> sums;
      clear<kRows, Vectors>(sums);
      const float* weights = args.taps->panels + static_cast<long>(panel.first) * args.taps->depth;
      for (int k = 0; k < args.taps_count; ++k) {
        multiply<kRows, Vectors>(sums, weights + static_cast<long>(k) * args.inputs * kRows, kRows,
                                 args.frames[k] + static_cast<long>(body) * args.inputs * row + column, row,
                                 args.inputs);
      }
      if (args.skip != nullptr && residual != nullptr) {
        multiply<kRows, Vectors>(sums,
                                 args.skip->panels + static_cast<long>(panel.first) * args.residual_channels,
                                 kRows, residual + column, row, args.residual_channels);
      }
      each_row<kRows>(panel.rows, [&](auto line) __attribute__((always_inline)) {
        constexpr int i = decltype(line)::value;
        for (int j = 0; j < Vectors; ++j) {
          const int at = column + j * kLanes;
          Vec sum = sums[i][j] + args.bias[panel.first + i];
          if (args.skip == nullptr && residual != nullptr) {
            sum += load(residual + static_cast<long>(panel.first + i) * row + at);
          }
          store(y + i * row + at, relu(sum));
        }
      });
    });
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
