// Runs on a device with no Python: the library says what it is, and never claims a device it cannot use.
#include <cstdio>

#include "ski_edge/build_info.h"
#include "ski_edge/device.h"

static int failures = 0;

static void check(bool ok, const char* what) {
  std::printf("%s  %s\n", ok ? "ok  " : "FAIL", what);
  failures += !ok;
}

int main() {
  const ski_edge::BuildInfo info = ski_edge::build_info();
  check(!info.version.empty() && info.version.find('.') != std::string::npos, "version is dotted");
  check(info.cpp_standard >= 201703L, "compiled as C++17 or later");
  check(!info.compiler.empty(), "compiler is named");
  check(info.cuda_version.empty() == info.cuda_archs.empty(), "CUDA version and architectures go together");

  const bool usable = ski_edge::why_not_cuda().empty();
  check(usable == !ski_edge::cuda_devices().empty(), "devices are listed exactly when CUDA runs");
  check(!(usable && info.cuda_version.empty()), "no CUDA device without CUDA code");
  std::printf("%d failed\n", failures);
  return failures != 0;
}
