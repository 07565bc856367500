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

// Empty when CUDA can run on some device; else one line that says why not (no CUDA code in this build, no
// driver, no device, none that this build has code for).
std::string why_not_cuda();

// The same of one device, counted from 0.
std::string why_not_cuda(int device);

// Empty when code for `archs` runs on compute capability `sm` (87 for 8.7), else one line. archs: separated
// by blanks, as CMake names them: 80 (machine code and PTX), 80-real, 80-virtual, 90a. Machine code runs on
// later minor versions of its major one; PTX on everything later.
std::string why_not_code(int sm, const std::string& archs);

// The devices the driver reports, also those this build has no code for; empty without CUDA code or a driver.
std::vector<CudaDevice> cuda_devices();

}  // namespace ski_edge
