// What this library was built with; printed by `ski-edge doctor`.
#pragma once

#include <string>

namespace ski_edge {

struct BuildInfo {
  std::string version;       // of the project, "0.1.0"
  std::string compiler;      // host compiler and its version
  long cpp_standard;         // value of __cplusplus
  std::string cuda_version;  // of the CUDA compiler; empty when the library has no CUDA code
  std::string cuda_archs;    // separated by blanks; empty without CUDA
};

BuildInfo build_info();

}  // namespace ski_edge
