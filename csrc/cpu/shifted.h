// Columns around which frames can be looked up: a few joints with zeros before the first and after the last
// frame.
#pragma once

#include "cpu/kernels.h"
#include "cpu/tile.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Zeros on each side; the farthest look of any network: 9 taps look 4 frames back, 5 taps at dilation 2 as
// well.
constexpr int kHalo = 4;

// [row][joint][part][halo, frames, padding, halo] of a task's joints.
struct Shifted {
  float* data;
  int parts, part_step, row_step, joint_step;

  SKI_EDGE_INLINE Shifted(float* memory, const Activation& x, int joints)
      : data(memory),
        parts(x.parts()),
        part_step(x.part_step() + 2 * kHalo),
        row_step(joints * x.parts() * (x.part_step() + 2 * kHalo)),
        joint_step(x.parts() * (x.part_step() + 2 * kHalo)) {}

  // Frame 0 of a part.
  SKI_EDGE_INLINE float* at(int row, int joint, int part) const {
    return data + static_cast<long>(row) * row_step + joint * joint_step + part * part_step + kHalo;
  }

  // Zeros around the valid frames of all rows.
  SKI_EDGE_INLINE void clear_edges(const Activation& x, int rows, int joints) const {
    for (int row = 0; row < rows; ++row) {
      for (int joint = 0; joint < joints; ++joint) {
        for (int part = 0; part < parts; ++part) {
          float* frames = at(row, joint, part);
          for (int t = -kHalo; t < 0; ++t) frames[t] = 0;
          for (int t = x.part_frames(part); t < x.part_step() + kHalo; ++t) frames[t] = 0;
        }
      }
    }
  }
};

// Where input frame stride * t + offset of output frame t is: its part, and how far from t within the part.
struct Look {
  int part, shift;
};
SKI_EDGE_INLINE Look look(int offset, int stride) {
  if (stride == 1) return {0, offset};
  const int odd = offset & 1;  // two's complement: -1 is odd
  return {odd, (offset - odd) / 2};
}

// The joints of a task.
struct Joints {
  int body, first, count;
};
SKI_EDGE_INLINE Joints joints_of(int task, int joints, int per_task) {
  const int tasks = (joints + per_task - 1) / per_task;
  const int first = task % tasks * per_task;
  return {task / tasks, first, joints - first < per_task ? joints - first : per_task};
}

// Calls body(joint, frame, other_joint, other_frame, Constant<Vectors>) for all vectors of `frames` columns
// of the joints, two by two; the two are of one joint or of neighbours.
template <class Body>
SKI_EDGE_INLINE void over_joint_vectors(int joints, int frames, const Body& body) {
  const int each = frames / kLanes, all = joints * each;
  int i = 0;
  for (; i + 2 <= all; i += 2) {
    body(i / each, i % each * kLanes, (i + 1) / each, (i + 1) % each * kLanes, Constant<2>{});
  }
  if (i < all) body(i / each, i % each * kLanes, i / each, i % each * kLanes, Constant<1>{});
}

// A vector of frames t, t + 1, ... of one joint of y; where y is split, each frame goes to its part.
SKI_EDGE_INLINE void store_frames(const Activation& y, float* joint, int t, Vec x) {
  if (!y.split) return store(joint + t, x);
  float* even = joint + t / 2;
  float* odd = even + y.part_step();
  if constexpr (kLanes == 1) {
    (t % 2 == 0 ? even : odd)[0] = x[0];
  } else {
    float lanes[kLanes];
    store(lanes, x);
    for (int i = 0; i < kLanes / 2; ++i) even[i] = lanes[2 * i], odd[i] = lanes[2 * i + 1];
  }
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
