#include "ski_edge/build_info.h"

namespace ski_edge {

BuildInfo build_info() {
  BuildInfo info;
  info.version = SKI_EDGE_VERSION;
#if defined(__clang__)
  info.compiler = "clang " __clang_version__;
#elif defined(__GNUC__)
  info.compiler = "gcc " __VERSION__;
#else
  info.compiler = "unknown";
#endif
  info.cpp_standard = __cplusplus;
#ifdef SKI_EDGE_HAS_CUDA
  info.cuda_version = SKI_EDGE_CUDA_VERSION;
  info.cuda_archs = SKI_EDGE_CUDA_ARCHS;
#endif
  return info;
}

}  // namespace ski_edge
