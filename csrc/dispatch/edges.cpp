#include "ski_edge/ops/edges.h"

#include "cpu/kernels.h"
#include "dispatch/arguments.h"

namespace ski_edge {

void normalise(const ClipView& x, const Body* bodies, const float* scale, const float* shift,
               const Activation& y, Isa isa, ThreadPool& pool) {
  check_activation("normalise", "y", y, 3, static_cast<int>(x.joints));
  check(y.frames == x.frames && !y.split, "normalise: y must have the ", x.frames, " frames of x, got ",
        shape(y));
  const cpu::Kernels& kernels = cpu::kernels(isa);
  pool.run(y.bodies, [&](int task, int) {
    const Body& body = bodies[task];
    const float* from = x.data + body.clip * x.clip_step + body.slot * x.person_step;
    const long table = static_cast<long>(body.slot) * x.joints * 3;
    kernels.normalise({from, x.coordinate_step, x.frame_step, x.joint_step, scale + table, shift + table, y},
                      task);
  });
}

void pool_features(const Activation& x, float* features, Isa isa, ThreadPool& pool) {
  check_activation("pool_features", "x", x, x.channels, x.joints);
  const cpu::Kernels& kernels = cpu::kernels(isa);
  pool.run(x.bodies, [&](int task, int) {
    kernels.pool(x, task, features + static_cast<std::size_t>(task) * static_cast<std::size_t>(x.channels));
  });
}

}  // namespace ski_edge
