// Four branches of convolution over time (CTR-GCN, HD-GCN, Hyperformer; norms folded), with the residual that
// follows. Each branch has W = C'/4 channels:
//
//   r = relu(reduce x + reduce_bias)                                          [3 W]
//   b0, b1 = taps_i * r_i at dilation 1, 2;  b2 = pool_scale * max3(r_2);  b3 = point x
//   y = relu(relu?(concat(b0..b3) + bias) + residual)
//
// The residual is nothing, an activation of y's shape, or a 1x1 convolution of one. With stride 2, x and a
// residual of x's frame rate are split activations, and y has the frames of their even part.
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
struct MultiScaleTemporalWeights {
  int channels = 0, residual_channels = 0;  // C = C', 4 W; channels of the residual where it is convolved
  int stride = 1, taps = 5;
  const float* reduce = nullptr;       // [3 W, C]
  const float* reduce_bias = nullptr;  // [3 W]
  const float* dilated[2] = {};        // [W, W, taps] each
  const float* point = nullptr;        // [W, C]
  const float* pool_scale = nullptr;   // [W]
  const float* bias = nullptr;         // [4 W]
  const float* skip = nullptr;         // [C', residual channels]; none: the residual is added as it is
  const float* skip_bias = nullptr;    // [C']
  bool relu_before = false;            // pyskl's CTR-GCN: a ReLU before the residual
};

class MultiScaleTemporal {
 public:
  // Throws BadInput for sizes that are out of range or do not fit together.
  MultiScaleTemporal(const MultiScaleTemporalWeights& weights, Isa isa);

  // Floats of workspace that `run` needs.
  std::size_t workspace(const Activation& x, int threads) const;

  // x [N, C, V, T], residual (no data: none) -> y [N, C, V, ceil(T / stride)]. y must not overlap x; it may
  // be the residual where that is added as it is and not split otherwise than y.
  void run(const Activation& x, const Activation& residual, const Activation& y, float* workspace,
           ThreadPool& pool) const;

 private:
  std::size_t scratch(const Activation& x, int joints) const;  // floats per thread

  const cpu::Kernels* kernels_;
  int channels_, width_, residual_channels_, stride_, taps_;
  bool relu_before_;
  Panels reduce_, dilated_, point_, skip_;  // dilated_: two matrices, skip_: one per branch
  Floats reduce_bias_, bias_, pool_scale_, skip_bias_;
};

}  // namespace ski_edge
