// Multi-scale temporal convolution; the contract is in ski_edge/ops/temporal.h.
#include "cpu/shifted.h"
#include "cpu/target.h"
#include "cpu/tile.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

namespace {

// relu(reduce . x + bias) of a task's joints, at the frame rate of x.
SKI_EDGE_INLINE void reduced(const TemporalArgs& args, const Joints& joints, const Shifted& out) {
  const Activation& x = args.x;
  const float* from = x.body(joints.body) + static_cast<long>(joints.first) * x.joint_step();
  const int columns = x.columns(), rows = args.reduce->rows;
  // Parts are treated as joints of their own: side by side in x as well as in `out`.
  over_joint_vectors(joints.count * x.parts(), x.part_step(),
                     [&](int part, int t, int other, int other_t, auto n) __attribute__((always_inline)) {
                       constexpr int Vectors = decltype(n)::value;
                       const float* column = from + part * x.part_step() + t;
                       const long gap = (other - part) * x.part_step() + other_t - t;
                       for (int first = 0; first < rows; first += kRows) {
                         Sums<kRows, Vectors> sums;
                         clear<kRows, Vectors>(sums);
                         multiply<kRows, Vectors>(
                             sums, args.reduce->panels + static_cast<long>(first) * args.reduce->depth, kRows,
                             column, columns, args.reduce->depth, gap);
                         const int height = rows - first < kRows ? rows - first : kRows;
                         for (int i = 0; i < height; ++i) {
                           const float bias = args.reduce_bias[first + i];
                           float* row = out.at(first + i, 0, 0);
                           store(row + part * out.part_step + t, relu(sums[i][0] + bias));
                           if (Vectors == 2)
                             store(row + other * out.part_step + other_t, relu(sums[i][Vectors - 1] + bias));
                         }
                       }
                     });
  out.clear_edges(x, rows, joints.count);
}

}  // namespace

// Task (body, group of joints). scratch: the reduced columns, three branches of them.
void temporal(const TemporalArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y, &residual = args.residual;
  const Joints joints = joints_of(task, x.joints, args.joints_per_task);
  const Shifted columns(scratch, x, joints.count);
  const int width = args.width;
  reduced(args, joints, columns);

  const float* source = x.body(joints.body) + static_cast<long>(joints.first) * x.joint_step();
  const float* add = residual.data == nullptr ? nullptr
                                              : residual.body(joints.body) +
                                                    static_cast<long>(joints.first) * residual.joint_step();
  float* to = y.body(joints.body) + static_cast<long>(joints.first) * y.joint_step();
  over_joint_vectors(
      joints.count, padded_frames(y.frames),
      [&](int joint, int t, int other, int other_t, auto n) __attribute__((always_inline)) {
        constexpr int Vectors = decltype(n)::value;
        const auto gap = [&](int joint_step) {
          return static_cast<long>(other - joint) * joint_step + other_t - t;
        };
        for (int branch = 0; branch < 4; ++branch) {
          for (int first = 0; first < width; first += kRows) {
            const int height = width - first < kRows ? width - first : kRows;
            Sums<kRows, Vectors> sums;
            clear<kRows, Vectors>(sums);
            if (branch < 2) {
              const Matrix& matrix = args.taps[branch];
              const float* panel = matrix.panels + static_cast<long>(first) * matrix.depth;
              for (int k = 0; k < args.taps_count; ++k) {
                const Look at = look((branch + 1) * (k - args.taps_count / 2), args.stride);
                multiply<kRows, Vectors>(sums, panel + k * width * kRows, kRows,
                                         columns.at(branch * width, joint, at.part) + t + at.shift,
                                         columns.row_step, width, gap(columns.joint_step));
              }
            } else if (branch == 2) {
              for (int i = 0; i < height; ++i) {
                const float scale = args.pool_scale[first + i];
                for (int j = 0; j < Vectors; ++j) {
                  Vec most = Vec{};  // inputs are ReLUs': zero is below none of them, so zeros around the
                                     // clip do no harm
                  for (int offset = -1; offset <= 1; ++offset) {
                    const Look at = look(offset, args.stride);
                    const float* row = columns.at(2 * width + first + i, joint, at.part) + t + at.shift;
                    most = max(most, load(row + j * gap(columns.joint_step)));
                  }
                  sums[i][j] = most * scale;
                }
              }
            } else {
              multiply<kRows, Vectors>(
                  sums, args.point->panels + static_cast<long>(first) * args.point->depth, kRows,
                  source + joint * x.joint_step() + t, x.columns(), args.point->depth, gap(x.joint_step()));
            }
            const float* bias = args.bias + branch * width + first;
            for (int i = 0; i < height; ++i) {
              for (int j = 0; j < Vectors; ++j) {
                sums[i][j] += bias[i];
                if (args.relu_before) sums[i][j] = relu(sums[i][j]);
              }
            }
            if (add != nullptr && args.skip != nullptr) {
              const Matrix& skip = args.skip[branch];
              multiply<kRows, Vectors>(sums, skip.panels + static_cast<long>(first) * skip.depth, kRows,
                                       add + joint * residual.joint_step() + t, residual.columns(),
                                       skip.depth, gap(residual.joint_step()));
            }
            for (int i = 0; i < height; ++i) {
              const int c = branch * width + first + i;
              for (int j = 0; j < Vectors; ++j) {
                const int v = j == 0 ? joint : other, at = j == 0 ? t : other_t;
                Vec sum = sums[i][j];
                if (add != nullptr && args.skip == nullptr) {
                  sum +=
                      load(add + static_cast<long>(c) * residual.columns() + v * residual.joint_step() + at);
                } else if (add != nullptr) {
                  sum += args.skip_bias[c];
                }
                store_frames(y, to + static_cast<long>(c) * y.columns() + v * y.joint_step(), at, relu(sum));
              }
            }
          }
        }
      });
}

// Task (body, group of joints). scratch: the columns of x.
void taps(const TapsArgs& args, int task, float* scratch) {
  const Activation &x = args.x, &y = args.y, &residual = args.residual;
  const Joints joints = joints_of(task, x.joints, args.joints_per_task);
  const Shifted columns(scratch, x, joints.count);
  const float* source = x.body(joints.body) + static_cast<long>(joints.first) * x.joint_step();
  for (int c = 0; c < x.channels; ++c) {
    for (int joint = 0; joint < joints.count; ++joint) {
      for (int part = 0; part < x.parts(); ++part) {
        const float* from =
            source + static_cast<long>(c) * x.columns() + joint * x.joint_step() + part * x.part_step();
        float* to = columns.at(c, joint, part);
        for (int t = 0; t < x.part_step(); t += kLanes) store(to + t, load(from + t));
      }
    }
  }
  columns.clear_edges(x, x.channels, joints.count);

  const float* add = residual.data == nullptr ? nullptr
                                              : residual.body(joints.body) +
                                                    static_cast<long>(joints.first) * residual.joint_step();
  float* to = y.body(joints.body) + static_cast<long>(joints.first) * y.joint_step();
  over_joint_vectors(
      joints.count, padded_frames(y.frames),
      [&](int joint, int t, int other, int other_t, auto n) __attribute__((always_inline)) {
        constexpr int Vectors = decltype(n)::value;
        const auto gap = [&](int joint_step) {
          return static_cast<long>(other - joint) * joint_step + other_t - t;
        };
        for (int first = 0; first < y.channels; first += kRows) {
          const int height = y.channels - first < kRows ? y.channels - first : kRows;
          Sums<kRows, Vectors> sums;
          clear<kRows, Vectors>(sums);
          const float* panel = args.taps->panels + static_cast<long>(first) * args.taps->depth;
          for (int k = 0; k < args.taps_count; ++k) {
            const Look at = look(k - args.taps_count / 2, args.stride);
            multiply<kRows, Vectors>(sums, panel + static_cast<long>(k) * x.channels * kRows, kRows,
                                     columns.at(0, joint, at.part) + t + at.shift, columns.row_step,
                                     x.channels, gap(columns.joint_step));
          }
          if (add != nullptr && args.skip != nullptr) {
            multiply<kRows, Vectors>(sums, args.skip->panels + static_cast<long>(first) * args.skip->depth,
                                     kRows, add + joint * residual.joint_step() + t, residual.columns(),
                                     args.skip->depth, gap(residual.joint_step()));
          }
          for (int i = 0; i < height; ++i) {
            const int c = first + i;
            for (int j = 0; j < Vectors; ++j) {
              const int v = j == 0 ? joint : other, at = j == 0 ? t : other_t;
              Vec sum = sums[i][j] + args.bias[c];
              if (add != nullptr && args.skip == nullptr) {
                sum += load(add + static_cast<long>(c) * residual.columns() + v * residual.joint_step() + at);
              }
              store_frames(y, to + static_cast<long>(c) * y.columns() + v * y.joint_step(), at, relu(sum));
            }
          }
        }
      });
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
