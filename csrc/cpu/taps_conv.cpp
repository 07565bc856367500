// One convolution over several frames; the contract is in ski_edge/ops/taps_conv.h.
#include "cpu/contract.h"
#include "cpu/over_time.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Task (body, group of joints). scratch: the columns of x, then a packed residual.
void taps_conv(const TapsConvArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y;
  const Joints joints = joints_of(task, x.joints, args.joints_per_task);
  const Shifted columns(scratch, x, joints.count);
  const int depth = packed(x.channels);
  scratch += static_cast<long>(depth) * columns.row_step;
  const float* source = x.body(joints.body) + static_cast<long>(joints.first) * x.joint_step();
  for (int c = 0; c < x.channels; c += kPack) {
    const int height = x.channels - c < kPack ? x.channels - c : kPack;
    for (int joint = 0; joint < joints.count; ++joint) {
      for (int part = 0; part < x.parts(); ++part) {
        const float* from =
            source + static_cast<long>(c) * x.columns() + joint * x.joint_step() + part * x.part_step();
        float* to = columns.at(c / kPack, joint, part);
        for (int t = 0; t < x.part_step(); t += kLanes) {
          const auto row = [&](int i) { return load(from + static_cast<long>(i) * x.columns() + t); };
          store(to + t, pack_rows(row, 0, height));
        }
      }
    }
  }
  columns.clear_edges(x, depth, joints.count);
  const Ending end(args.residual, y, joints, args.skip != nullptr, scratch);
  over_joint_vectors(
      joints.count, padded_frames(y.frames),
      [&](int joint, int t, int other, int other_t, auto n) __attribute__((always_inline)) {
        constexpr int Vectors = decltype(n)::value;
        const auto gap = [&](long joint_step) { return (other - joint) * joint_step + other_t - t; };
        for (int first = 0; first < y.channels; first += kRows) {
          const int height = y.channels - first < kRows ? y.channels - first : kRows;
          Sums<kRows, Vectors> sums;
          clear<kRows, Vectors>(sums);
          const float* panel = args.taps->panels + static_cast<long>(first) * args.taps->depth;
          for (int k = 0; k < args.taps_count; ++k) {
            const Look at = look(k - args.taps_count / 2, args.stride);
            multiply<kRows, Vectors>(sums, panel + static_cast<long>(k) * depth * kRows, kRows,
                                     columns.at(0, joint, at.part) + t + at.shift, columns.row_step, depth,
                                     gap(columns.joint_step));
          }
          if (end.skip.data != nullptr) {
            multiply<kRows, Vectors>(sums, args.skip->panels + static_cast<long>(first) * args.skip->depth,
                                     kRows, end.skip.data + joint * end.skip.joint_step + t,
                                     end.skip.row_step, args.skip->depth, gap(end.skip.joint_step));
          }
          each_row<kRows>(height, [&](auto line) __attribute__((always_inline)) {
            constexpr int i = decltype(line)::value;
            finish(end, y, first + i, joint, t, sums[i][0] + args.bias[first + i]);
            if (Vectors == 2) {
              finish(end, y, first + i, other, other_t, sums[i][Vectors - 1] + args.bias[first + i]);
            }
          });
        }
      });
}

// One frame at a time. Columns are joints then: a body's lie side by side in one row. Lanes beyond the last
// joint hold anything, and stay among themselves.
//
// Task (panel of channels), all bodies.
void taps_conv_step(const TapsConvStepArgs& args, int task) {
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
