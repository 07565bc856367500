// LayerNorm over channels, as Hyperformer has it before its attention.
//
//   y[c, v, t] = (x[c, v, t] - mean) / sqrt(var + 1e-5) * weight[c] + bias[c],  mean and var over c
//
// HyperedgeAttention calls the same kernel, with weight and bias folded into what follows.
#pragma once

#include "ski_edge/activation.h"
#include "ski_edge/isa.h"
#include "ski_edge/panels.h"
#include "ski_edge/thread_pool.h"

namespace ski_edge {

namespace cpu {
struct Kernels;
}

// Float32 tensors of the caller, copied when the op is made.
struct LayerNormWeights {
  int channels = 0;
  const float* weight = nullptr;  // [C]
  const float* bias = nullptr;    // [C]
};

class LayerNorm {
 public:
  // Throws BadInput for sizes that are out of range.
  LayerNorm(const LayerNormWeights& weights, Isa isa);

  // Floats of workspace that `run` needs: none.
  std::size_t workspace(const Activation& x, int threads) const;

  // x [N, C, V, T] -> y of the same shape, split as x is. y may be x.
  void run(const Activation& x, const Activation& y, float* workspace, ThreadPool& pool) const;

 private:
  const cpu::Kernels* kernels_;
  int channels_;
  Floats weight_, bias_;
};

}  // namespace ski_edge
