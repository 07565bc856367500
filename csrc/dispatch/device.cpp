#include "ski_edge/device.h"

#include <cstdlib>
#include <sstream>

#include "../cuda/device.h"

namespace ski_edge {

namespace {

// One entry of the list, "80-real", on this device.
bool runs(int sm, const std::string& entry) {
  char* rest = nullptr;
  const int arch = static_cast<int>(std::strtol(entry.c_str(), &rest, 10));
  const std::string kind(rest);
  if (arch < 10) return false;
  if (kind[0] == 'a') return sm == arch;  // of exactly this chip, PTX too
  const bool same_major = sm / 10 == arch / 10 && sm >= arch;
  if (kind[0] == 'f' || kind == "-real") return same_major;
  return kind == "-virtual" || kind.empty() ? sm >= arch : false;
}

std::string dotted(int sm) { return std::to_string(sm / 10) + "." + std::to_string(sm % 10); }

}  // namespace

std::string why_not_code(int sm, const std::string& archs) {
  std::istringstream list(archs);
  for (std::string entry; list >> entry;)
    if (runs(sm, entry)) return "";
  return "this build has CUDA code for " + (archs.empty() ? "nothing" : archs) +
         ", none of which runs on compute capability " + dotted(sm) +
         "; build it on this machine, or with -DSKI_EDGE_CUDA_ARCHS=" + std::to_string(sm);
}

#ifdef SKI_EDGE_HAS_CUDA

std::vector<CudaDevice> cuda_devices() { return cuda::devices(); }

std::string why_not_cuda(int device) {
  const std::string reason = cuda::why_not();
  if (!reason.empty()) return reason;
  const std::vector<CudaDevice> found = cuda_devices();
  if (device < 0 || static_cast<std::size_t>(device) >= found.size()) {
    return "there is no CUDA device " + std::to_string(device) + "; give 0" +
           (found.size() > 1 ? " to " + std::to_string(found.size() - 1) : "");
  }
  const CudaDevice& chosen = found[static_cast<std::size_t>(device)];
  const std::string code = why_not_code(chosen.sm, SKI_EDGE_CUDA_ARCHS);
  return code.empty() ? "" : chosen.name + ": " + code;
}

std::string why_not_cuda() {
  const std::string first = why_not_cuda(0);
  for (std::size_t i = 1; i < cuda_devices().size(); ++i)
    if (why_not_cuda(static_cast<int>(i)).empty()) return "";
  return first;
}

#else

std::string why_not_cuda() {
  return "this build has no CUDA code; rebuild where a CUDA compiler (nvcc) is found";
}
std::string why_not_cuda(int) { return why_not_cuda(); }
std::vector<CudaDevice> cuda_devices() { return {}; }

#endif

}  // namespace ski_edge
