// Convolution over time; the contract is in ski_edge/ops/temporal.h.
#include "cpu/shifted.h"
#include "cpu/target.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

namespace {

// Columns of a task's joints as a product takes them.
struct Operand {
  const float* data;
  long row_step, joint_step;
};

// Those of x, from its first part on. Where products take pairs, `scratch` gets them, and is moved on.
SKI_EDGE_INLINE Operand operand(const Activation& x, const Joints& joints, int parts, float*& scratch) {
  const float* from = x.body(joints.body) + static_cast<long>(joints.first) * x.joint_step();
#if defined(SKI_EDGE_BF16)
  const int length = parts * x.part_step();
  const Operand out = {scratch, static_cast<long>(joints.count) * length, length};
  for (int c = 0; c < x.channels; c += 2) {
    for (int joint = 0; joint < joints.count; ++joint) {
      const float* low = from + static_cast<long>(c) * x.columns() + joint * x.joint_step();
      for (int t = 0; t < length; t += kLanes) {
        store(scratch + joint * length + t,
              pack(load(low + t), c + 1 < x.channels ? load(low + x.columns() + t) : Vec{}));
      }
    }
    scratch += out.row_step;
  }
  return out;
#else
  (void)parts, (void)scratch;
  return {from, x.columns(), x.joint_step()};
#endif
}

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
SKI_EDGE_INLINE void reduced(const TemporalArgs& args, const Joints& joints, const Operand& from,
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

// What is added to the columns of a task, and where they go.
struct Ending {
  Operand skip;           // of the residual, where that is convolved
  const float* residual;  // else the residual of the task's joints, or null
  long residual_row, residual_joint;
  float* y;

  SKI_EDGE_INLINE Ending(const Activation& from, const Activation& to, const Joints& joints, bool convolved,
                         float*& scratch)
      : skip{},
        residual(nullptr),
        residual_row(from.columns()),
        residual_joint(from.joint_step()),
        y(to.body(joints.body) + static_cast<long>(joints.first) * to.joint_step()) {
    if (from.data == nullptr) return;
    // A strided residual's even part has the frames of y.
    if (convolved) skip = operand(from, joints, 1, scratch);
    if (!convolved) residual = from.body(joints.body) + static_cast<long>(joints.first) * from.joint_step();
  }
};

// relu(sums + residual) -> y, one row of one vector.
SKI_EDGE_INLINE void finish(const Ending& end, const Activation& y, int c, int joint, int t, Vec sum) {
  if (end.residual != nullptr)
    sum += load(end.residual + c * end.residual_row + joint * end.residual_joint + t);
  store_frames(y, end.y + static_cast<long>(c) * y.columns() + joint * y.joint_step(), t, relu(sum));
}

}  // namespace

namespace {

// One or two vectors of frames of a task's columns.
struct Place {
  int joint, t, other, other_t;

  // From the first vector to the second, where joints are so far apart.
  SKI_EDGE_INLINE long gap(long joint_step) const { return (other - joint) * joint_step + other_t - t; }
};

// Rows first, first + 1, ... of one branch, without its bias.
template <int Vectors>
SKI_EDGE_INLINE void branch_sums(const TemporalArgs& args, int branch, int first, int height,
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
void temporal(const TemporalArgs& args, int task, float* scratch) {
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

// Task (body, group of joints). scratch: the columns of x, then a packed residual.
void taps(const TapsArgs& args, int task, float* scratch) {
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

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
