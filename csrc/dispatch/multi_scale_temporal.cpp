#include "ski_edge/ops/multi_scale_temporal.h"

#include "cpu/kernels.h"
#include "dispatch/over_time.h"

namespace ski_edge {

namespace {
constexpr const char* kOp = "multi_scale_temporal";
}

MultiScaleTemporal::MultiScaleTemporal(const MultiScaleTemporalWeights& w, Isa isa)
    : kernels_(&cpu::kernels(isa)),
      channels_(w.channels),
      width_(w.channels / 4),
      residual_channels_(w.skip != nullptr ? w.residual_channels : w.channels),
      stride_(w.stride),
      taps_(w.taps),
      relu_before_(w.relu_before) {
  check_size(kOp, "channels", w.channels, kMostChannels);
  check(w.channels % 4 == 0, kOp, ": channels must divide by the 4 branches, got ", w.channels);
  check_time(kOp, w.stride, w.taps, 5);
  check_given(kOp, "reduce", w.reduce), check_given(kOp, "reduce_bias", w.reduce_bias);
  for (const float* dilated : w.dilated) check_given(kOp, "dilated", dilated);
  check_given(kOp, "point", w.point), check_given(kOp, "pool_scale", w.pool_scale);
  check_given(kOp, "bias", w.bias);
  const PanelFormat rows = {kernels_->panel_rows, kernels_->pack};
  for (int branch = 0; branch < 3; ++branch) {
    reduce_.add(w.reduce + branch * width_ * channels_, width_, channels_, rows);
  }
  point_.add(w.point, width_, channels_, rows);
  for (const float* dilated : w.dilated) add_taps(dilated_, dilated, width_, width_, taps_, rows);
  skip_bias_ = Floats(product(1, channels_));
  if (w.skip != nullptr) {
    check_size(kOp, "residual_channels", w.residual_channels, kMostChannels);
    check_given(kOp, "skip_bias", w.skip_bias);
    for (int branch = 0; branch < 4; ++branch) {
      skip_.add(w.skip + branch * width_ * residual_channels_, width_, residual_channels_, rows);
    }
    skip_bias_ = Floats(w.skip_bias, product(1, channels_));
  }
  reduce_bias_ = Floats(w.reduce_bias, product(3, width_));
  bias_ = Floats(w.bias, product(1, channels_));
  pool_scale_ = Floats(w.pool_scale, product(1, width_));
}

std::size_t MultiScaleTemporal::scratch(const Activation& x, int joints) const {
  const int pack = kernels_->pack;
  return shifted_floats(x, 3 * steps(width_, pack), joints) + packed_floats(x, channels_, joints, pack) +
         packed_floats(x, residual_channels_, joints, pack);
}

std::size_t MultiScaleTemporal::workspace(const Activation& x, int threads) const {
  check_sizes(kOp, "x", x, channels_, x.joints);
  Pieces pieces(nullptr);
  const int joints = joints_per_task((x.frames + stride_ - 1) / stride_, x.joints);
  pieces.take_per_thread(scratch(x, joints), threads);
  return pieces.taken();
}

void MultiScaleTemporal::run(const Activation& x, const Activation& residual, const Activation& y,
                             float* workspace, ThreadPool& pool) const {
  check_activation(kOp, "x", x, channels_, x.joints);
  check_activation(kOp, "y", y, channels_, x.joints);
  check_run(kOp, x, residual, y, stride_, residual_channels_);
  check(skip_.views() != nullptr || residual.data == nullptr || stride_ == 1, kOp,
        ": a residual of another frame rate needs a convolution");
  cpu::MultiScaleTemporalArgs args{};
  args.x = x, args.residual = residual, args.y = y;
  args.stride = stride_, args.relu_before = relu_before_, args.width = width_, args.taps_count = taps_;
  args.reduce = reduce_.views(), args.taps = dilated_.views(), args.point = point_.views(),
  args.skip = skip_.views();
  args.reduce_bias = reduce_bias_.data(), args.bias = bias_.data();
  args.pool_scale = pool_scale_.data(), args.skip_bias = skip_bias_.data();
  args.joints_per_task = joints_per_task(y.frames, x.joints);
  Pieces pieces(workspace);
  const auto scratch = pieces.take_per_thread(this->scratch(x, args.joints_per_task), pool.threads());
  pool.run(tasks(kOp, x, args.joints_per_task),
           [&](int task, int thread) { kernels_->multi_scale_temporal(args, task, scratch[thread]); });
}

}  // namespace ski_edge
