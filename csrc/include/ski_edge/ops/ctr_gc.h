// Channel-wise topology refinement graph convolution (CTR-GCN, Chen et al. 2021, eq. 3 to 5), with what
// follows it.
//
//   q, k     = query and key of subset s at the mean over time of x:            [R, V] each
//   G_s[c]   = expand_s[c] . tanh(q[:, u] - k[:, v]) + expand_bias_s[c] + adjacency_s[u, v]
//   y[c,u,t] = relu(sum over s, v of G_s[c][u, v] * (value_s x + value_bias_s)[c, v, t] + shift[c] +
//   shortcut(x)[c,u,t])
//
// The gain and the BatchNorm are folded into expand, value and shift before (engine/fold.h). The shortcut is
// x itself, or a 1x1 convolution where the width changes.
#pragma once

#include "ski_edge/activation.h"
#include "ski_edge/isa.h"
#include "ski_edge/panels.h"
#include "ski_edge/thread_pool.h"

namespace ski_edge {

namespace cpu {
struct Kernels;
}

// Row-major float32 tensors of the caller, copied when the op is made.
struct CtrGcWeights {
  int inputs = 0, outputs = 0, subsets = 0, relations = 0, joints = 0;  // C, C', S, R, V
  const float* relation = nullptr;       // [2 S R, C]: queries of all subsets, then keys
  const float* relation_bias = nullptr;  // [2 S R]
  const float* expand = nullptr;         // [S C', R]
  const float* expand_bias = nullptr;    // [S C']
  const float* adjacency = nullptr;      // [S, V, V]: destination u, source v
  const float* value = nullptr;          // [S C', C]
  const float* value_bias = nullptr;     // [S C']
  const float* shift = nullptr;          // [C']
  const float* shortcut = nullptr;       // [C', C]; none: C equals C' and x is added
};

class CtrGc {
 public:
  // Throws BadInput for sizes that do not fit together or are out of range.
  CtrGc(const CtrGcWeights& weights, Isa isa);

  // Floats of workspace that `run` needs.
  std::size_t workspace(const Activation& x, int threads) const;

  // x [N, C, V, T] -> y [N, C', V, T], split as x is. y must not overlap x.
  void run(const Activation& x, const Activation& y, float* workspace, ThreadPool& pool) const;

 private:
  struct Layout;

  const cpu::Kernels* kernels_;
  int inputs_, outputs_, subsets_, relations_, joints_;
  Panels relation_, expand_, value_, shortcut_;  // the first three: one matrix per subset
  Floats relation_bias_, expand_bias_, adjacency_, value_bias_, shift_;  // adjacency_: [S][v][u]
};

}  // namespace ski_edge
