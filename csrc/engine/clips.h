// Clips that enter an engine: what is refused, and which slots are empty.
#pragma once

#include "ski_edge/engine.h"

namespace ski_edge {

// Throws BadInput unless x holds data of [N, 3, T, joints, persons] of the network.
void check_clips(const ClipView& x, const NetworkSpec& spec);

// Whether a slot holds nothing but zeros. Refuses numbers that are none: a ReLU would quietly make zeros of
// them.
bool is_empty(const ClipView& x, const Body& body);

}  // namespace ski_edge
