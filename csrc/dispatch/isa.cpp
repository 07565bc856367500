#include "ski_edge/isa.h"

#include <cstdlib>

#if defined(__aarch64__) && defined(__linux__)
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
#if defined(SKI_EDGE_HAS_BF16)
    if (isa == Isa::avx512_bf16 && !__builtin_cpu_supports("avx512bf16"))
      return "this CPU has no AVX-512 BF16";
#endif
#elif defined(__aarch64__) && defined(__linux__)
    constexpr unsigned long kBf16 = 1UL << 14;  // HWCAP2_BF16, which headers before Linux 5.10 do not know
    if (isa == Isa::neon_bf16 && (getauxval(AT_HWCAP2) & kBf16) == 0) return "this CPU has no BF16";
#elif defined(__aarch64__)
    if (isa == Isa::neon_bf16) return "only Linux says whether an Arm CPU has BF16";
#endif
    return "";
  }
  return std::string(name(isa)) + " is not in this build, by its architecture or its compiler";
}

Isa bf16_isa() {
#if defined(__aarch64__)
  return Isa::neon_bf16;
#else
  return Isa::avx512_bf16;
#endif
}

Isa float32_isa(Isa isa) {
  return isa == Isa::avx512_bf16 ? Isa::avx512 : isa == Isa::neon_bf16 ? Isa::baseline : isa;
}

Isa best_isa() {
  if (const char* wanted = std::getenv("SKI_EDGE_ISA"); wanted != nullptr && *wanted != '\0') {
    const Isa isa = parse_isa(wanted);
    check(isa != bf16_isa(), "SKI_EDGE_ISA=", wanted,
          " computes in bfloat16, which must be asked for as a precision");
    return isa;
  }
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
#endif
#if defined(SKI_EDGE_HAS_BF16) && defined(__aarch64__)
    case Isa::neon_bf16:
      return neon_bf16::kTable;
#elif defined(SKI_EDGE_HAS_BF16)
    case Isa::avx512_bf16:
      return avx512_bf16::kTable;
#endif
    default:
      return baseline::kTable;
  }
}

}  // namespace cpu

}  // namespace ski_edge
