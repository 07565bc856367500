// What graph convolutions share: the values of a panel of channels, and their sum over source joints.
#pragma once

#include "cpu/kernels.h"
#include "cpu/tile.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// values[i][s][column] of the channels of one panel: value . x + bias; with a shortcut convolution,
// own[i][column].
SKI_EDGE_INLINE void panel_values(const Activation& x, int body, int panel, int rows, int channels,
                                  int subsets, const Matrix* value, const float* bias, const Matrix* shortcut,
                                  float* values, float* own) {
  const float* from = x.body(body);
  const int columns = x.columns();
  over_columns(columns, [&](int column, auto vectors) __attribute__((always_inline)) {
    constexpr int Vectors = decltype(vectors)::value;
    for (int s = 0; s < subsets + (shortcut != nullptr); ++s) {
      const bool last = s == subsets;
      const Matrix& matrix = last ? *shortcut : value[s];
      Sums<kRows, Vectors> sums;
      clear<kRows, Vectors>(sums);
      multiply<kRows, Vectors>(sums, matrix.panels + static_cast<long>(panel) * kRows * matrix.depth, kRows,
                               from + column, columns, matrix.depth);
      float* to = last ? own : values + static_cast<long>(s) * columns;
      const long step = last ? columns : static_cast<long>(subsets) * columns;
      for (int i = 0; i < rows; ++i) {
        const float add = last ? 0.0f : bias[s * channels + panel * kRows + i];
        for (int j = 0; j < Vectors; ++j) store(to + i * step + column + j * kLanes, sums[i][j] + add);
      }
    }
  });
}

// y[u][t] = relu(sum over s, v of graph[s][v][u] * values[s][v][t] + shift + own[u][t]) for one channel, all
// t. own may be null; subsets of the graph are graph_step apart, those of the values value_step, joints
// `step`.
SKI_EDGE_INLINE void contract(const float* graph, long graph_step, const float* values, long value_step,
                              int subsets, int joints, int step, float shift, const float* own, float* y) {
  // Destinations in tiles of nearly equal height: 25 are 7 + 6 + 6 + 6.
  const int tiles = (joints + kRows - 1) / kRows;
  over_columns(step, [&](int column, auto vectors) __attribute__((always_inline)) {
    constexpr int Vectors = decltype(vectors)::value;
    for (int tile = 0, u = 0; tile < tiles; ++tile) {
      const int height = (joints - u + tiles - tile - 1) / (tiles - tile);
      with_constant<kRows>(height, [&](auto rows) __attribute__((always_inline)) {
        constexpr int Rows = decltype(rows)::value;
        Sums<Rows, Vectors> sums;
        clear<Rows, Vectors>(sums);
        for (int s = 0; s < subsets; ++s) {
          multiply<Rows, Vectors>(sums, graph + s * graph_step + u, joints, values + s * value_step + column,
                                  step, joints);
        }
        for (int i = 0; i < Rows; ++i) {
          for (int j = 0; j < Vectors; ++j) {
            const int at = (u + i) * step + column + j * kLanes;
            Vec sum = sums[i][j] + shift;
            if (own != nullptr) sum += load(own + at);
            store(y + at, relu(sum));
          }
        }
      });
      u += height;
    }
  });
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
