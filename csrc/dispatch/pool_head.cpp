#include "ski_edge/ops/pool_head.h"

#include <algorithm>

#include "cpu/kernels.h"
#include "dispatch/arguments.h"

namespace ski_edge {

namespace {

constexpr const char* kOp = "pool_head";

int row(int channels) { return padded_frames(channels); }

}  // namespace

PoolHead::PoolHead(const PoolHeadWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)), channels_(w.channels), classes_(w.classes), persons_(w.persons) {
  check_size(kOp, "channels", w.channels, kMostChannels);
  check_size(kOp, "classes", w.classes, kMostClasses);
  check_size(kOp, "persons", w.persons, kMostPersons);
  check_given(kOp, "weight", w.weight), check_given(kOp, "bias", w.bias);
  weight_ = Floats(product(classes_, row(channels_)));
  for (int k = 0; k < classes_; ++k) {
    std::copy_n(w.weight + product(k, channels_), channels_, weight_.data() + product(k, row(channels_)));
  }
  bias_ = Floats(w.bias, product(classes_));
}

std::size_t PoolHead::workspace(const Activation& x, int) const {
  check_sizes(kOp, "x", x, channels_, x.joints);
  return product(x.bodies, row(channels_));
}

void PoolHead::run(const Activation& x, float* logits, float* features, float* workspace,
                   ThreadPool& pool) const {
  check_activation(kOp, "x", x, channels_, x.joints);
  check(x.bodies % persons_ == 0, kOp, ": x must hold ", persons_, " bodies per clip, got ", shape(x));
  check_given(kOp, "logits", logits), check_given(kOp, "features", features);
  pool.run(x.bodies, [&](int body, int) {
    kernels_->pool_head_means(x, body, workspace + product(body, row(channels_)));
  });
  const cpu::PoolHeadArgs args = {persons_,       channels_,    classes_, row(channels_), workspace,
                                  weight_.data(), bias_.data(), logits,   features};
  pool.run(x.bodies / persons_, [&](int clip, int) { kernels_->pool_head_classes(args, clip); });
}

void pool_features(const Activation& x, float* features, Isa isa, ThreadPool& pool) {
  check_activation("pool_features", "x", x, x.channels, x.joints);
  const cpu::Kernels& kernels = cpu::kernels(isa);
  pool.run(x.bodies,
           [&](int body, int) { kernels.pool_head_means(x, body, features + product(body, x.channels)); });
}

}  // namespace ski_edge
