// What graph convolutions share: the values of a panel of channels, and their sum over source joints.
#pragma once

#include "cpu/kernels.h"
#include "cpu/tile.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// The channels of a task: one panel of an activation's.
struct Panel {
  int body, index, first, rows;
};
SKI_EDGE_INLINE Panel panel_of(int task, int channels) {
  const int panels = (channels + kRows - 1) / kRows;
  const int index = task % panels, first = index * kRows;
  return {task / panels, index, first, channels - first < kRows ? channels - first : kRows};
}

// to = x of one body as products take it.
SKI_EDGE_INLINE void pack_channels(const float* x, int channels, long columns, float* to) {
  for (int c = 0; c < channels; c += kPack) {
    for (long i = 0; i < columns; i += kLanes) {
      const auto row = [&](int channel) { return load(x + channel * columns + i); };
      store(to + c / kPack * columns + i, pack_rows(row, c, channels));
    }
  }
}

// What a panel of channels needs of the op.
struct Values {
  const Matrix* value;     // [subsets]
  const Matrix* shortcut;  // null: none
  const float* bias;       // [subsets][channels]
  int subsets, channels;
};

// values[i][s][column] of the channels of one panel: value . x + bias, rows of joints packed; with a shortcut
// convolution, own[i][column]. from: x as `pack_channels` leaves it.
SKI_EDGE_INLINE void panel_values(const Values& op, const float* from, const Activation& x,
                                  const Panel& panel, float* values, float* own) {
  const int columns = x.columns(), step = x.joint_step();
  const long value_rows = static_cast<long>(packed(x.joints)) * step;
  const auto tile = [&](int column, long gap, auto vectors, const auto& put) __attribute__((always_inline)) {
    constexpr int Vectors = decltype(vectors)::value;
    for (int s = 0; s < op.subsets + (op.shortcut != nullptr); ++s) {
      const Matrix& matrix = s == op.subsets ? *op.shortcut : op.value[s];
      Sums<kRows, Vectors> sums;
      if (s == op.subsets) {
        clear<kRows, Vectors>(sums);
      } else {
        begin<kRows, Vectors>(sums, op.bias + s * op.channels + panel.first);
      }
      multiply<kRows, Vectors>(sums, matrix.panels + static_cast<long>(panel.first) * matrix.depth, kRows,
                               from + column, columns, matrix.depth, gap);
      each_row<kRows>(panel.rows, [&](auto row) __attribute__((always_inline)) {
        constexpr int i = decltype(row)::value;
        if (s == op.subsets) {
          for (int j = 0; j < Vectors; ++j)
            store(own + static_cast<long>(i) * columns + column + j * gap, sums[i][j]);
          return;
        }
        put(values + (static_cast<long>(i) * op.subsets + s) * value_rows, sums[i]);
      });
    }
  };
#if defined(SKI_EDGE_BF16)
  // Two joints at a time, which become one row of pairs.
  for (int v = 0; v < x.joints; v += 2) {
    for (int t = 0; t < step; t += kLanes) {
      const auto put = [&](float* row, const Vec* sum, Vec other) {
        store(row + v / 2 * step + t, pack(sum[0], other));
      };
      if (v + 1 < x.joints) {
        tile(v * step + t, step, Constant<2>{}, [&](float* row, const Vec* sum) { put(row, sum, sum[1]); });
      } else {
        tile(v * step + t, step, Constant<1>{}, [&](float* row, const Vec* sum) { put(row, sum, Vec{}); });
      }
    }
  }
#else
  over_columns(columns, [&](int column, auto vectors) __attribute__((always_inline)) {
    tile(column, kLanes, vectors, [&](float* row, const Vec* sum) __attribute__((always_inline)) {
      for (int j = 0; j < decltype(vectors)::value; ++j) store(row + column + j * kLanes, sum[j]);
    });
  });
#endif
}

// A graph for each subset: rows of source joints (packed), columns of destinations.
struct Graphs {
  const float* data;
  long subset_step;
  int row_step, subsets;
};

// y[u][t] = max(sum over s, v of graph[s][v][u] * values[s][v][t] + shift + own[u][t], least) for one
// channel, all t: least is 0 for a ReLU. own may be null. step: from joint to joint.
SKI_EDGE_INLINE void contract(const Graphs& graphs, const float* values, int joints, int step, float shift,
                              const float* own, float least, float* y) {
  // Destinations in tiles of nearly equal height: 25 are 7 + 6 + 6 + 6.
  const int tiles = (joints + kRows - 1) / kRows, depth = packed(joints);
  over_columns(step, [&](int column, auto vectors) __attribute__((always_inline)) {
    constexpr int Vectors = decltype(vectors)::value;
    for (int tile = 0, u = 0; tile < tiles; ++tile) {
      const int height = (joints - u + tiles - tile - 1) / (tiles - tile);
      with_constant<kRows>(height, [&](auto rows) __attribute__((always_inline)) {
        constexpr int Rows = decltype(rows)::value;
        Sums<Rows, Vectors> sums;
        clear<Rows, Vectors>(sums);
        for (int s = 0; s < graphs.subsets; ++s) {
          multiply<Rows, Vectors>(sums, graphs.data + s * graphs.subset_step + u, graphs.row_step,
                                  values + static_cast<long>(s) * depth * step + column, step, depth);
        }
        for (int i = 0; i < Rows; ++i) {
          for (int j = 0; j < Vectors; ++j) {
            const int at = (u + i) * step + column + j * kLanes;
            Vec sum = sums[i][j] + shift;
            if (own != nullptr) sum += load(own + at);
            store(y + at, max(sum, splat(least)));
          }
        }
      });
      u += height;
    }
  });
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
