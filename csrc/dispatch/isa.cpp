#include "ski_edge/isa.h"

#include <cstdlib>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "cpu/kernels.h"
#include "ski_edge/check.h"

namespace ski_edge {

const char* name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::neon_bf16:
      return "neon_bf16";
  }
  return "unknown";
}

const std::vector<Isa>& built_isas() {
  static const std::vector<Isa> built = {
      Isa::scalar, Isa::baseline,
#if defined(__x86_64__)
      Isa::avx2,   Isa::avx512,   Isa::avx512_bf16,
#elif defined(__aarch64__)
      Isa::neon_bf16,
#endif
  };
  return built;
}

std::string why_not(Isa isa) {
  for (const Isa built : built_isas()) {
    if (built != isa) continue;
#if defined(__x86_64__)
    if (isa == Isa::avx2 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) {
      return "this CPU has no AVX2 with FMA";
    }
    const bool wide = isa == Isa::avx512 || isa == Isa::avx512_bf16;
    if (wide && !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))) {
      return "this CPU has no AVX-512 (F, BW, DQ, VL)";
    }
    if (isa == Isa::avx512_bf16 && !__builtin_cpu_supports("avx512bf16"))
      return "this CPU has no AVX-512 BF16";
#elif defined(__aarch64__) && defined(__linux__)
    if (isa == Isa::neon_bf16 && (getauxval(AT_HWCAP2) & HWCAP2_BF16) == 0) return "this CPU has no BF16";
#endif
    return "";
  }
  return std::string(name(isa)) + " is of another architecture than this build";
}

Isa bf16_isa() {
#if defined(__aarch64__)
  return Isa::neon_bf16;
#else
  return Isa::avx512_bf16;
#endif
}

Isa best_isa() {
  if (const char* wanted = std::getenv("SKI_EDGE_ISA"); wanted != nullptr && *wanted != '\0')
    return parse_isa(wanted);
  Isa best = Isa::baseline;
  for (const Isa isa : built_isas()) {
    if (isa != bf16_isa() && why_not(isa).empty()) best = isa;
  }
  return best;
}

Isa parse_isa(const std::string& wanted) {
  std::string choices;
  for (const Isa isa : built_isas()) {
    if (wanted == name(isa)) {
      const std::string reason = why_not(isa);
      check(reason.empty(), "instruction set ", wanted, " does not run here: ", reason);
      return isa;
    }
    choices += (choices.empty() ? "" : ", ") + std::string(name(isa));
  }
  refuse("instruction set '", wanted, "' is not known; the choices are: ", choices);
}

namespace cpu {

const Kernels& kernels(Isa isa) {
  const std::string reason = why_not(isa);
  check(reason.empty(), "kernels for ", name(isa), " do not run here: ", reason);
  switch (isa) {
    case Isa::scalar:
      return scalar::kTable;
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::kTable;
    case Isa::avx512:
      return avx512::kTable;
    case Isa::avx512_bf16:
      return avx512_bf16::kTable;
#elif defined(__aarch64__)
    case Isa::neon_bf16:
      return neon_bf16::kTable;
#endif
    default:
      return baseline::kTable;
  }
}

}  // namespace cpu

}  // namespace ski_edge
