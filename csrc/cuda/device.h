// The CUDA side of ski_edge/device.h; plain C++, so that the dispatcher needs no CUDA headers.
#pragma once

#include <string>
#include <vector>

#include "ski_edge/device.h"

namespace ski_edge::cuda {

std::string why_not();
std::vector<CudaDevice> devices();

}  // namespace ski_edge::cuda
