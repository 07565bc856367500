// What a caller says of a network, before anything is sized by it.
#pragma once

#include "ski_edge/engine.h"

namespace ski_edge {

// The spec itself. Throws BadInput for sizes and tables beyond limits.h.
const NetworkSpec& checked(const NetworkSpec& spec);

}  // namespace ski_edge
