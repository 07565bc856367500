// How a clip enters a network; pool_head.h is how features leave it.
#pragma once

#include "ski_edge/activation.h"
#include "ski_edge/isa.h"
#include "ski_edge/thread_pool.h"

namespace ski_edge {

// A clip of the caller: element (n, coordinate, frame, joint, person) at data[sum of index * step]. Steps in
// floats.
struct ClipView {
  const float* data = nullptr;
  long clips = 0, frames = 0, joints = 0, persons = 0;  // N, T, V, M; three coordinates
  long clip_step = 0, coordinate_step = 0, frame_step = 0, joint_step = 0, person_step = 0;
};

struct Body {
  long clip;
  int slot;
};

// y[b] = x[bodies[b]] * scale + shift, both [M, V, 3], for all y.bodies of `bodies`: BatchNorm with
// statistics per body slot, joint and coordinate.
void normalise(const ClipView& x, const Body* bodies, const float* scale, const float* shift,
               const Activation& y, Isa isa, ThreadPool& pool);

}  // namespace ski_edge
