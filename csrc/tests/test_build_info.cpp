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
  std::printf("built for %s\n", info.cuda_archs.empty() ? "no GPU" : info.cuda_archs.c_str());
  check(info.cuda_version.empty() == info.cuda_archs.empty(), "CUDA version and architectures go together");

  const bool usable = ski_edge::why_not_cuda().empty();
  check(!usable || !ski_edge::cuda_devices().empty(), "where CUDA runs, there is a device");
  check(!(usable && info.cuda_version.empty()), "no CUDA device without CUDA code");

  using ski_edge::why_not_code;
  check(why_not_code(80, "80").empty() && why_not_code(87, "80-real").empty(), "code runs on later minors");
  check(why_not_code(90, "75 80").empty() && why_not_code(120, "80-virtual").empty(), "PTX runs later");
  check(!why_not_code(90, "80-real").empty() && !why_not_code(80, "86-real").empty(),
        "code runs on its major");
  check(!why_not_code(75, "80").empty() && !why_not_code(86, "87 90").empty(),
        "nothing runs on older devices");
  check(why_not_code(90, "90a").empty() && !why_not_code(100, "90a").empty(), "90a is for itself");
  check(why_not_code(103, "100f-real").empty() && !why_not_code(120, "100f").empty(),
        "a family is one major");
  check(!why_not_code(80, "").empty() && !why_not_code(80, "all").empty(), "other names are no architecture");
  check(why_not_code(75, "80").find("7.5") != std::string::npos, "the device's capability is named");
  std::printf("%d failed\n", failures);
  return failures != 0;
}
