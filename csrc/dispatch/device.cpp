#include "ski_edge/device.h"

#include "../cuda/device.h"

namespace ski_edge {

#ifdef SKI_EDGE_HAS_CUDA

std::string why_not_cuda() { return cuda::why_not(); }
std::vector<CudaDevice> cuda_devices() { return cuda::devices(); }

#else

std::string why_not_cuda() {
  return "this build has no CUDA code; rebuild where a CUDA compiler (nvcc) is found";
}
std::vector<CudaDevice> cuda_devices() { return {}; }

#endif

}  // namespace ski_edge
