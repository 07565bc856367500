// Which devices this library can run on, here and now.
#pragma once

#include <string>
#include <vector>

namespace ski_edge {

struct CudaDevice {
  std::string name;
  int sm;                     // compute capability, 87 for 8.7
  unsigned long long memory;  // bytes
};

// Empty when CUDA can run; else one line that says why not (no CUDA code in this build, no driver, no
// device).
std::string why_not_cuda();

// The devices the driver reports; empty exactly when why_not_cuda() is not.
std::vector<CudaDevice> cuda_devices();

}  // namespace ski_edge
