// Graph convolution with one graph for all channels (ST-GCN, CTRS-GCN), with what follows it.
//
//   y[c,w,t] = relu?(sum over s, v of graph_s[v, w] * (value_s x + value_bias_s)[c, v, t] + shift[c] +
//   shortcut(x)[c,w,t])
//
// Mixing joints and mixing channels commute, so it does not matter which of the two a network writes first.
// Each hierarchy level of HD-GCN is one of these without the ReLU: its three graphs, with value matrices that
// write into rows of their own (tests/ops/test_graph_conv.py).
#pragma once

#include "ski_edge/activation.h"
#include "ski_edge/isa.h"
#include "ski_edge/panels.h"
#include "ski_edge/thread_pool.h"

namespace ski_edge {

namespace cpu {
struct Kernels;
}

enum class Shortcut { none, identity, convolution };

// Row-major float32 tensors of the caller, copied when the op is made.
struct GraphConvWeights {
  int inputs = 0, outputs = 0, subsets = 0, joints = 0;  // C, C', S, V
  const float* graph = nullptr;                          // [S, V, V]: source v, destination w
  const float* value = nullptr;                          // [S C', C]
  const float* value_bias = nullptr;                     // [S C']
  const float* shift = nullptr;                          // [C']
  Shortcut shortcut = Shortcut::none;
  const float* shortcut_weight = nullptr;  // [C', C] where the shortcut is a convolution
  bool relu = true;
};

class GraphConv {
 public:
  // Throws BadInput for sizes that are out of range or do not fit together.
  GraphConv(const GraphConvWeights& weights, Isa isa);

  // Floats of workspace that `run` needs.
  std::size_t workspace(const Activation& x, int threads) const;

  // x [N, C, V, T] -> y [N, C', V, T], split as x is. y must not overlap x.
  void run(const Activation& x, const Activation& y, float* workspace, ThreadPool& pool) const;

  // The same for one frame: nothing in this op looks across frames. Float32 instruction sets only.
  std::size_t step_workspace(int joints, int threads) const;
  void step(const FrameActivation& x, const FrameActivation& y, float* workspace, ThreadPool& pool) const;

 private:
  struct Layout;

  const cpu::Kernels* kernels_;
  int inputs_, outputs_, subsets_, joints_;
  Shortcut shortcut_kind_;
  float least_;
  Panels value_, shortcut_;  // value_: one matrix per subset
  Floats graph_, value_bias_, shift_;
};

}  // namespace ski_edge
