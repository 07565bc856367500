// What convolutions over time share: the columns of a task, and what follows a sum.
#pragma once

#include "cpu/shifted.h"

namespace ski_edge::cpu::SKI_EDGE_TARGET {

// Columns of a task's joints as a product takes them.
struct Operand {
  const float* data;
  long row_step, joint_step;
};

// Those of x, from its first part on. Where products take pairs, `scratch` gets them, and is moved on.
SKI_EDGE_INLINE Operand operand(const Activation& x, const Joints& joints, int parts, float*& scratch) {
  const float* from = x.body(joints.body) + static_cast<long>(joints.first) * x.joint_step();
#if defined(SKI_EDGE_BF16)
  const int length = parts * x.part_step();
  const Operand out = {scratch, static_cast<long>(joints.count) * length, length};
  for (int c = 0; c < x.channels; c += 2) {
    for (int joint = 0; joint < joints.count; ++joint) {
      const float* low = from + static_cast<long>(c) * x.columns() + joint * x.joint_step();
      for (int t = 0; t < length; t += kLanes) {
        store(scratch + joint * length + t,
              pack(load(low + t), c + 1 < x.channels ? load(low + x.columns() + t) : Vec{}));
      }
    }
    scratch += out.row_step;
  }
  return out;
#else
  (void)parts, (void)scratch;
  return {from, x.columns(), x.joint_step()};
#endif
}

// What is added to the columns of a task, and where they go.
struct Ending {
  Operand skip;           // of the residual, where that is convolved
  const float* residual;  // else the residual of the task's joints, or null
  long residual_row, residual_joint;
  float* y;

  SKI_EDGE_INLINE Ending(const Activation& from, const Activation& to, const Joints& joints, bool convolved,
                         float*& scratch)
      : skip{},
        residual(nullptr),
        residual_row(from.columns()),
        residual_joint(from.joint_step()),
        y(to.body(joints.body) + static_cast<long>(joints.first) * to.joint_step()) {
    if (from.data == nullptr) return;
    // A strided residual's even part has the frames of y.
    if (convolved) skip = operand(from, joints, 1, scratch);
    if (!convolved) residual = from.body(joints.body) + static_cast<long>(joints.first) * from.joint_step();
  }
};

// relu(sums + residual) -> y, one row of one vector.
SKI_EDGE_INLINE void finish(const Ending& end, const Activation& y, int c, int joint, int t, Vec sum) {
  if (end.residual != nullptr)
    sum += load(end.residual + c * end.residual_row + joint * end.residual_joint + t);
  store_frames(y, end.y + static_cast<long>(c) * y.columns() + joint * y.joint_step(), t, relu(sum));
}

}  // namespace ski_edge::cpu::SKI_EDGE_TARGET
