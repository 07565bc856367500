// Four branches of convolution over time; the contract is in ski_edge/ops/multi_scale_temporal.h.
#include "cpu/over_time.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

namespace {

// Row `row` of packed rows.
SKI_EDGE_INLINE Vec get_row(const float* rows, long step, int row) {
#if defined(SKI_EDGE_BF16)
  const Vec both = load(rows + row / 2 * step);
  return row % 2 == 0 ? low_half(both) : high_half(both);
#else
  return load(rows + row * step);
#endif
}

// relu(reduce . x + bias) of a task's joints, at the frame rate of x: three branches of packed rows.
SKI_EDGE_INLINE void reduced(const MultiScaleTemporalArgs& args, const Joints& joints, const Operand& from,
                             const Shifted& out) {
  const Activation& x = args.x;
  const int width = args.width;
  // Parts are treated as joints of their own: side by side in x as well as in `out`.
  over_joint_vectors(
      joints.count * x.parts(), x.part_step(),
      [&](int part, int t, int other, int other_t, auto n) __attribute__((always_inline)) {
        constexpr int Vectors = decltype(n)::value;
        const float* column = from.data + part * x.part_step() + t;
        const long gap = (other - part) * x.part_step() + other_t - t;
        for (int branch = 0; branch < 3; ++branch) {
          const Matrix& matrix = args.reduce[branch];
          for (int first = 0; first < width; first += kRows) {
            Sums<kRows, Vectors> sums;
            begin<kRows, Vectors>(sums, args.reduce_bias + branch * width + first);
            multiply<kRows, Vectors>(sums, matrix.panels + static_cast<long>(first) * matrix.depth, kRows,
                                     column, from.row_step, matrix.depth, gap);
            const int height = width - first < kRows ? width - first : kRows;
            float* to = out.at(branch * packed(width) + first / kPack, 0, 0);
            each_row<kRows / kPack>(packed(height), [&](auto line) __attribute__((always_inline)) {
              constexpr int i = decltype(line)::value;
              for (int j = 0; j < Vectors; ++j) {
                const auto row = [&](int c) __attribute__((always_inline)) { return relu(sums[c][j]); };
                float* frames = to + i * out.row_step;
                store(j == 0 ? frames + part * out.part_step + t : frames + other * out.part_step + other_t,
                      pack_rows(row, i * kPack, height));
              }
            });
          }
        }
      });
  out.clear_edges(x, 3 * packed(width), joints.count);
}

// One or two vectors of frames of a task's columns.
struct Place {
  int joint, t, other, other_t;

  // From the first vector to the second, where joints are so far apart.
  SKI_EDGE_INLINE long gap(long joint_step) const { return (other - joint) * joint_step + other_t - t; }
};

// Rows first, first + 1, ... of one branch, without its bias.
template <int Vectors>
SKI_EDGE_INLINE void branch_sums(const MultiScaleTemporalArgs& args, int branch, int first, int height,
                                 const Shifted& columns, const Operand& source, const Place& at,
                                 Sums<kRows, Vectors>& sums) {
  const int width = args.width;
  if (branch < 2) {
    const Matrix& matrix = args.taps[branch];
    const float* panel = matrix.panels + static_cast<long>(first) * matrix.depth;
    for (int k = 0; k < args.taps_count; ++k) {
      const Look seen = look((branch + 1) * (k - args.taps_count / 2), args.stride);
      multiply<kRows, Vectors>(sums, panel + k * packed(width) * kRows, kRows,
                               columns.at(branch * packed(width), at.joint, seen.part) + at.t + seen.shift,
                               columns.row_step, packed(width), at.gap(columns.joint_step));
    }
  } else if (branch == 2) {
    each_row<kRows>(height, [&](auto line) __attribute__((always_inline)) {
      constexpr int i = decltype(line)::value;
      for (int j = 0; j < Vectors; ++j) {
        Vec most =
            Vec{};  // inputs are ReLUs': zero is below none of them, so zeros around the clip do no harm
        for (int offset = -1; offset <= 1; ++offset) {
          const Look seen = look(offset, args.stride);
          const float* rows = columns.at(2 * packed(width), at.joint, seen.part) + at.t + seen.shift;
          most = max(most, get_row(rows + j * at.gap(columns.joint_step), columns.row_step, first + i));
        }
        sums[i][j] = most * args.pool_scale[first + i];
      }
    });
  } else {
    multiply<kRows, Vectors>(sums, args.point->panels + static_cast<long>(first) * args.point->depth, kRows,
                             source.data + at.joint * source.joint_step + at.t, source.row_step,
                             args.point->depth, at.gap(source.joint_step));
  }
}

}  // namespace

// Task (body, group of joints). scratch: the reduced columns, three branches of them, then packed inputs.
void multi_scale_temporal(const MultiScaleTemporalArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y;
  const Joints joints = joints_of(task, x.joints, args.joints_per_task);
  const Shifted columns(scratch, x, joints.count);
  const int width = args.width;
  scratch += static_cast<long>(3 * packed(width)) * columns.row_step;
  const Operand source = operand(x, joints, x.parts(), scratch);
  const Ending end(args.residual, y, joints, args.skip != nullptr, scratch);
  reduced(args, joints, source, columns);
  over_joint_vectors(
      joints.count, padded_frames(y.frames),
      [&](int joint, int t, int other, int other_t, auto n) __attribute__((always_inline)) {
        constexpr int Vectors = decltype(n)::value;
        const Place at = {joint, t, other, other_t};
        for (int branch = 0; branch < 4; ++branch) {
          for (int first = 0; first < width; first += kRows) {
            const int height = width - first < kRows ? width - first : kRows,
                      channel = branch * width + first;
            Sums<kRows, Vectors> sums;
            clear<kRows, Vectors>(sums);
            branch_sums<Vectors>(args, branch, first, height, columns, source, at, sums);
            const auto add_bias = [&](const float* bias, bool relu_after) __attribute__((always_inline)) {
              each_row<kRows>(height, [&](auto line) __attribute__((always_inline)) {
                constexpr int i = decltype(line)::value;
                for (int j = 0; j < Vectors; ++j) {
                  sums[i][j] += bias[channel + i];
                  if (relu_after) sums[i][j] = relu(sums[i][j]);
                }
              });
            };
            add_bias(args.bias, args.relu_before);
            if (end.skip.data != nullptr) {
              const Matrix& skip = args.skip[branch];
              multiply<kRows, Vectors>(sums, skip.panels + static_cast<long>(first) * skip.depth, kRows,
                                       end.skip.data + joint * end.skip.joint_step + t, end.skip.row_step,
                                       skip.depth, at.gap(end.skip.joint_step));
              add_bias(args.skip_bias, false);
            }
            each_row<kRows>(height, [&](auto line) __attribute__((always_inline)) {
              constexpr int i = decltype(line)::value;
              finish(end, y, channel + i, joint, t, sums[i][0]);
              if (Vectors == 2) finish(end, y, channel + i, other, other_t, sums[i][Vectors - 1]);
            });
          }
        }
      });
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
