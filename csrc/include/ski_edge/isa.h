// Instruction sets the CPU kernels are compiled for, and which of them run here.
#pragma once

#include <string>
#include <vector>

namespace ski_edge {

enum class Isa {
  scalar,    // one lane; slow, kept as the plain form of every kernel
  baseline,  // 128 bits: what every CPU of this architecture has (SSE2, NEON)
  avx2,      // 256 bits, with FMA
  avx512,    // 512 bits
  // Products of bfloat16, sums of float32: half the numbers to read and twice the products per instruction,
  // three digits instead of seven. Never chosen by itself.
  avx512_bf16,
  neon_bf16,
};

const char* name(Isa isa);

// The ones in this build, from slowest to fastest.
const std::vector<Isa>& built_isas();

// Empty when `isa` runs here, else one line that says why not.
std::string why_not(Isa isa);

// The bfloat16 one of this architecture.
Isa bf16_isa();

// The float32 one that a bfloat16 one is built on; itself for the others.
Isa float32_isa(Isa isa);

// The fastest in float32 that runs here, or the one that the environment variable SKI_EDGE_ISA names.
// Throws BadInput when that is not known or does not run.
Isa best_isa();

// Throws BadInput for a name that is none of them, or one that does not run here.
Isa parse_isa(const std::string& name);

}  // namespace ski_edge
