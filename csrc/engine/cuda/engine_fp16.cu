#include "engine/cuda/typed_engine.h"

namespace ski_edge {

std::unique_ptr<CudaEngine::Parts> make_fp16_parts(const std::string& weights, const NetworkSpec& spec,
                                                   int device) {
  return std::make_unique<Typed<cuda::Half>>(weights, spec, device);
}

}  // namespace ski_edge
