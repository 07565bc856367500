// Self-attention between joints that knows bones and groups of joints (Hyperformer, Zhou et al. 2022, eq. 5
// to 8).
//
//   n = (x - mean) / sqrt(var + 1e-5) over channels;  q, k, v = qkv n + qkv_bias, per head of c channels
//   e_g = group_features . mean of x over the joints of group g
//   score[n, m] = q_n.k_m + q_n.e_g(m) + q_n.hop_features[hop(n, m)] + group_weight.e_g(m)
//   y = project((gain * softmax(score / sqrt(c)) + attention_bias) v) + project_bias + shortcut(x)
//
// LayerNorm's own weights are folded into qkv before. `project` is a grouped 1x1 convolution.
#pragma once

#include <vector>

#include "ski_edge/activation.h"
#include "ski_edge/isa.h"
#include "ski_edge/panels.h"
#include "ski_edge/thread_pool.h"

namespace ski_edge {

namespace cpu {
struct Kernels;
}

// Row-major float32 tensors of the caller, copied when the op is made.
struct HyperedgeAttentionWeights {
  int inputs = 0, outputs = 0, joints = 0, heads = 0, groups = 0, hops = 0,
      project_groups = 0;                 // C, C', V, H, G
  const float* qkv = nullptr;             // [3 C', C]: queries of all heads, keys, values
  const float* qkv_bias = nullptr;        // [3 C']
  const float* group_features = nullptr;  // [C', C]
  const float* hop_features = nullptr;    // [hops, C']
  const float* group_weight = nullptr;    // [H, C' / H]
  const float* attention_bias = nullptr;  // [H, V, V]
  const float* project = nullptr;         // [C', C' / project_groups]
  const float* project_bias = nullptr;    // [C']
  const float* shortcut = nullptr;        // [C', C]; none: x is added
  const int* group_of = nullptr;          // [V]
  const int* hop_of = nullptr;            // [V, V]
  float gain = 0;
};

class HyperedgeAttention {
 public:
  // Throws BadInput for sizes that are out of range or do not fit together.
  HyperedgeAttention(const HyperedgeAttentionWeights& weights, Isa isa);

  // Floats of workspace that `run` needs.
  std::size_t workspace(const Activation& x, int threads) const;

  // x [N, C, V, T] -> y [N, C', V, T], split as x is. y must not overlap x.
  void run(const Activation& x, const Activation& y, float* workspace, ThreadPool& pool) const;

 private:
  struct Layout;

  const cpu::Kernels* kernels_;
  int inputs_, outputs_, joints_, heads_, groups_, hops_, project_groups_, heads_per_task_;
  float gain_;
  Panels qkv_, group_features_, hop_features_;  // one matrix per head
  Panels project_, shortcut_;                   // one per projection group
  Floats qkv_bias_, group_weight_, attention_bias_, project_bias_;
  std::vector<int> group_of_, hop_of_;
};

}  // namespace ski_edge
