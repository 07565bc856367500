// What CudaEngine needs of an engine of one precision; each is compiled on its own (engine_fp32.cu, ...).
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "ski_edge/cuda_engine.h"

namespace ski_edge {

struct CudaEngine::Parts {
  virtual ~Parts() = default;
  virtual void submit(const ClipView& x) = 0;
  virtual void wait(float* logits, float* features) = 0;
  virtual void run_on_device(const ClipView& x, float* logits, float* features, cudaStream_t stream) = 0;
  virtual void time_replays(int times, float* milliseconds) = 0;
  virtual std::size_t bytes() const = 0;

  NetworkSpec spec;
  int feature_dim = 0;
};

// device: -1 for the host.
using MakeParts = std::unique_ptr<CudaEngine::Parts>(const std::string& weights, const NetworkSpec& spec,
                                                     int device);
MakeParts make_fp32_parts, make_fp16_parts, make_bf16_parts;

}  // namespace ski_edge
