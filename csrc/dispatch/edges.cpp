#include "ski_edge/ops/edges.h"

#include "cpu/kernels.h"
#include "dispatch/arguments.h"

namespace ski_edge {

void normalise(const ClipView& x, const Body* bodies, const float* scale, const float* shift,
               const Activation& y, Isa isa, ThreadPool& pool) {
  check(x.data != nullptr && x.joints >= 1 && x.joints <= kMostJoints && x.persons >= 1 &&
            x.persons <= kMostPersons,
        "normalise: x must hold data of 1 to ", kMostJoints, " joints and 1 to ", kMostPersons,
        " persons, got ", x.joints, " joints and ", x.persons, " persons");
  check_activation("normalise", "y", y, 3, static_cast<int>(x.joints));
  check(y.frames == x.frames && !y.split, "normalise: y must have the ", x.frames, " frames of x, got ",
        shape(y));
  for (int i = 0; i < y.bodies; ++i) {
    const Body& body = bodies[i];
    check(body.clip >= 0 && body.clip < x.clips && body.slot >= 0 && body.slot < x.persons,
          "normalise: body ", i, " must be one of ", x.clips, " clips and ", x.persons, " persons, got clip ",
          body.clip, " and slot ", body.slot);
  }
  const cpu::Kernels& kernels = cpu::kernels(isa);
  pool.run(y.bodies, [&](int task, int) {
    const Body& body = bodies[task];
    const float* from = x.data + body.clip * x.clip_step + body.slot * x.person_step;
    const long table = static_cast<long>(body.slot) * x.joints * 3;
    kernels.normalise({from, x.coordinate_step, x.frame_step, x.joint_step, scale + table, shift + table, y},
                      task);
  });
}

}  // namespace ski_edge
