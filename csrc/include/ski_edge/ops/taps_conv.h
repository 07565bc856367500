// One convolution over several frames (ST-GCN, CTRS-GCN), with the residual that follows.
//
//   y = relu(taps * x + bias + residual)
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
struct TapsConvWeights {
  int inputs = 0, outputs = 0, residual_channels = 0;
  int stride = 1, taps = 9;       // an odd number up to 9
  const float* weight = nullptr;  // [C', C, taps]
  const float* bias = nullptr;    // [C'], that of the skip included
  const float* skip = nullptr;    // [C', residual channels]; none: the residual is added as it is
};

class TapsConv {
 public:
  // Throws BadInput for sizes that are out of range or do not fit together.
  TapsConv(const TapsConvWeights& weights, Isa isa);

  // Floats of workspace that `run` needs.
  std::size_t workspace(const Activation& x, int threads) const;

  // x [N, C, V, T], residual (no data: none) -> y [N, C', V, ceil(T / stride)]. y must not overlap x; it may
  // be the residual where that is added as it is and not split otherwise than y.
  void run(const Activation& x, const Activation& residual, const Activation& y, float* workspace,
           ThreadPool& pool) const;

  // One frame of y, without padding in time and without stride: from `taps` frames of x, the oldest first,
  // and the residual of the middle one (no data: none). Float32 instruction sets only.
  void step(const FrameActivation* x, const FrameActivation& residual, const FrameActivation& y,
            ThreadPool& pool) const;

  int taps() const { return taps_count_; }

 private:
  std::size_t scratch(const Activation& x, int joints) const;  // floats per thread

  const cpu::Kernels* kernels_;
  int inputs_, outputs_, residual_channels_, stride_, taps_count_;
  Panels taps_, skip_;
  Floats bias_;
};

}  // namespace ski_edge
