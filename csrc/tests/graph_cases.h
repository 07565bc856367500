// What the tests of graph convolutions share: sizes, data, the sum over source joints, and what no run takes.
#pragma once

#include "reference.h"

namespace ski_edge {

struct Case {
  int bodies, inputs, outputs, subsets, joints, frames;
  bool split, convolution;
  int threads, relations;
};

inline const Case kCases[] = {
    {1, 3, 12, 3, 25, 13, false, true, 1, 8},  {2, 4, 4, 1, 1, 1, false, false, 2, 1},
    {3, 12, 36, 3, 2, 2, true, true, 3, 2},    {1, 36, 36, 3, 17, 16, false, false, 2, 4},
    {2, 54, 54, 3, 20, 17, true, false, 3, 6}, {1, 64, 64, 3, 25, 63, false, false, 2, 8},
    {1, 64, 54, 3, 33, 65, true, true, 1, 8},  {2, 12, 12, 2, 20, 64, false, false, 1, 3},
    {1, 4, 64, 16, 2, 65, false, true, 3, 5},  {3, 1, 1, 1, 33, 1, true, false, 1, 17},
    {1, 17, 36, 3, 17, 33, true, true, 3, 4},  {1, 12, 4, 1, 25, 15, false, true, 2, 64},
};

// What both ops share.
struct Data {
  Held x;
  Truth truth_x;
  std::vector<float> value, value_bias, shift, shortcut, graph;

  Data(const Case& k, unsigned seed)
      : x(k.bodies, k.inputs, k.joints, k.frames, k.split),
        truth_x(noise_like(x, -1, 2, seed)),
        value(weights(k.subsets * k.outputs, k.inputs, seed + 1)),
        value_bias(noise(static_cast<std::size_t>(k.subsets * k.outputs), -1, 1, seed + 2)),
        shift(noise(static_cast<std::size_t>(k.outputs), -0.5, 1, seed + 3)),
        shortcut(weights(k.outputs, k.inputs, seed + 4)),
        graph(weights(k.subsets * k.joints, k.subsets * k.joints, seed + 5)) {
    graph.resize(static_cast<std::size_t>(k.subsets * k.joints * k.joints));
    x.set(truth_x);
  }
};

// y[c, u, t] = relu(sum over s, v of g(n, s, c, u, v) * (value_s x + value_bias_s)[c, v, t] + shift +
// shortcut).
template <class Graph>
Truth mixed(const Case& k, const Data& d, bool identity, bool convolution, const Graph& g, bool relu = true) {
  Truth y(k.bodies, k.outputs, k.joints, k.frames);
  std::vector<double> values(static_cast<std::size_t>(k.subsets * k.joints * k.frames));
  for (int n = 0; n < k.bodies; ++n)
    for (int c = 0; c < k.outputs; ++c) {
      for (int s = 0; s < k.subsets; ++s)
        for (int v = 0; v < k.joints; ++v)
          for (int t = 0; t < k.frames; ++t) {
            double sum = d.value_bias[s * k.outputs + c];
            for (int i = 0; i < k.inputs; ++i)
              sum += static_cast<double>(d.value[(s * k.outputs + c) * k.inputs + i]) * d.truth_x(n, i, v, t);
            values[(s * k.joints + v) * k.frames + t] = sum;
          }
      for (int u = 0; u < k.joints; ++u)
        for (int t = 0; t < k.frames; ++t) {
          double sum = d.shift[c];
          for (int s = 0; s < k.subsets; ++s)
            for (int v = 0; v < k.joints; ++v)
              sum += g(n, s, c, u, v) * values[(s * k.joints + v) * k.frames + t];
          if (identity) sum += d.truth_x(n, c, u, t);
          for (int i = 0; convolution && i < k.inputs; ++i)
            sum += static_cast<double>(d.shortcut[c * k.inputs + i]) * d.truth_x(n, i, u, t);
          y(n, c, u, t) = relu ? std::max(sum, 0.0) : sum;
        }
    }
  return y;
}

inline std::string label(const char* op, const Case& k, const Data& d) {
  return std::string(op) + " " + shape_name(d.x) + " -> " + std::to_string(k.outputs) +
         (k.convolution ? " conv," : ",");
}

// Runs of an op of 4 channels and 5 joints that do not fit it.
template <class Op>
void refuses_runs(const Op& op, const std::string& name, const Activation& x) {
  const Held y(1, 4, 5, 16, false);
  const Guarded workspace(op.workspace(x, 1));
  const auto run = [&](auto change, const std::string& part, const char* what) {
    Activation from = x, to = y;
    change(from, to);
    throws([&] { op.run(from, to, workspace.data(), pool(1)); }, name + ": " + part, what);
  };
  run([](auto& x, auto&) { x.data = nullptr; }, "x must hold data", "x without data");
  run([](auto& x, auto&) { x.channels = 3; }, "x must be [N, 4, 5, T], got [1, 3, 5, 16]", "x: channels");
  run([](auto& x, auto&) { x.joints = 6; }, "x must be [N, 4, 5, T]", "x: joints");
  run([](auto& x, auto&) { x.frames = 0; }, "x must hold data", "x: frames");
  run([](auto& x, auto&) { x.bodies = 0; }, "x must hold data", "x: bodies");
  run([](auto&, auto& to) { to.channels = 5; }, "y must be [N, 4, 5, T]", "y: channels");
  run([](auto&, auto& to) { to.frames = 15; }, "y must have the bodies and frames of x", "y: frames");
  run([](auto&, auto& to) { to.split = true; }, "y must have the bodies and frames of x", "y: split");
}

}  // namespace ski_edge
