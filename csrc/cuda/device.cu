#include <cuda_runtime_api.h>

#include "device.h"

namespace ski_edge::cuda {

std::string why_not() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  int driver = 0;  // what CUDA says without one is that it is too old
  if (status == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
    return "there is no NVIDIA driver here";
  }
  if (status != cudaSuccess) {
    return std::string("CUDA does not start: ") + cudaGetErrorString(status);
  }
  return count > 0 ? "" : "the CUDA driver reports no device";
}

std::vector<CudaDevice> devices() {
  std::vector<CudaDevice> found;
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return found;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp prop;
    if (cudaGetDeviceProperties(&prop, i) != cudaSuccess) continue;
    found.push_back({prop.name, prop.major * 10 + prop.minor, prop.totalGlobalMem});
  }
  return found;
}

}  // namespace ski_edge::cuda
