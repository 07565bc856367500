// What follows the last block of every network here: a mean, and a linear layer.
//
//   features[n, c] = mean over persons m, joints v and frames t of x[n M + m, c, v, t]
//   logits[n, k]   = sum over c of weight[k, c] * features[n, c] + bias[k]
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
struct PoolHeadWeights {
  int channels = 0, classes = 0, persons = 1;  // C, K, M
  const float* weight = nullptr;               // [K, C]
  const float* bias = nullptr;                 // [K]
};

class PoolHead {
 public:
  // Throws BadInput for sizes that are out of range.
  PoolHead(const PoolHeadWeights& weights, Isa isa);

  // Floats of workspace that `run` needs.
  std::size_t workspace(const Activation& x, int threads) const;

  // x [N M, C, V, T], a clip's bodies one after the other -> logits [N, K], features [N, C]. Float32 with
  // every instruction set.
  void run(const Activation& x, float* logits, float* features, float* workspace, ThreadPool& pool) const;

 private:
  const cpu::Kernels* kernels_;
  int channels_, classes_, persons_;
  Floats weight_, bias_;  // weight_: rows padded to whole vectors
};

// The mean alone, of each body by itself: features [N, C]. What the engine takes, whose bodies come in parts.
void pool_features(const Activation& x, float* features, Isa isa, ThreadPool& pool);

}  // namespace ski_edge
