#include "ski_edge/ops/layer_norm.h"

#include "cpu/kernels.h"
#include "dispatch/arguments.h"

namespace ski_edge {

namespace {
constexpr const char* kOp = "layer_norm";
}

LayerNorm::LayerNorm(const LayerNormWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)), channels_(w.channels) {
  check_size(kOp, "channels", w.channels, kMostChannels);
  check_given(kOp, "weight", w.weight), check_given(kOp, "bias", w.bias);
  weight_ = Floats(w.weight, product(channels_)), bias_ = Floats(w.bias, product(channels_));
}

std::size_t LayerNorm::workspace(const Activation& x, int) const {
  check_sizes(kOp, "x", x, channels_, x.joints);
  return 0;
}

void LayerNorm::run(const Activation& x, const Activation& y, float*, ThreadPool& pool) const {
  check_activation(kOp, "x", x, channels_, x.joints);
  check_activation(kOp, "y", y, channels_, x.joints);
  check(x.bodies == y.bodies && x.frames == y.frames && x.split == y.split, kOp,
        ": y must have the bodies and frames of x ", shape(x), ", got ", shape(y));
  const cpu::LayerNormArgs args = {x, y, weight_.data(), bias_.data(), false};
  pool.run(task_count(kOp, {x.bodies, x.joint_step() / kernels_->lanes}),
           [&](int task, int) { kernels_->layer_norm(args, task); });
}

}  // namespace ski_edge
