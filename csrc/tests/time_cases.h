// What the tests of convolutions over time share: cases, the residual, and what no run takes.
#pragma once

#include "reference.h"

namespace ski_edge {

enum class Residual { none, same, convolved, in_place };

struct Case {
  int bodies, inputs, outputs, joints, frames, stride, taps;
  Residual residual;
  int residual_channels;
  bool split_y, relu_before;
  int threads;
};

// Every sum ends here: the residual at the input's frame, and the ReLU.
struct Add {
  const Case& k;
  Held x;
  Truth truth_x, truth_residual;
  std::vector<float> skip, skip_bias;

  Add(const Case& c, unsigned seed)
      : k(c),
        x(k.bodies, k.inputs, k.joints, k.frames, k.stride == 2),
        truth_x(noise_like(x, -1, 2, seed)),
        truth_residual(noise_like(residual_shape(), -1, 1, seed + 1)),
        skip(weights(k.outputs, k.residual_channels, seed + 2)),
        skip_bias(noise(static_cast<std::size_t>(k.outputs), -0.5, 0.5, seed + 3)) {
    x.set(truth_x);
  }
  int frames() const { return (k.frames + k.stride - 1) / k.stride; }
  Activation residual_shape() const {
    Activation shape = x;
    shape.data = nullptr, shape.channels = k.residual_channels;
    return shape;
  }
  double operator()(int n, int c, int v, int t) const {
    if (k.residual == Residual::none) return 0;
    if (k.residual != Residual::convolved) return truth_residual(n, c, v, k.stride * t);
    double sum = 0;
    for (int i = 0; i < k.residual_channels; ++i)
      sum += static_cast<double>(skip[c * k.residual_channels + i]) * truth_residual(n, i, v, k.stride * t);
    return sum;
  }
  // The op with every instruction set, its result against `truth`.
  template <class Op, class Weights>
  void compare_with(const char* name, const Weights& w, const Truth& truth) const {
    const bool in_place = k.residual == Residual::in_place;
    const Held held(k.bodies, k.residual_channels, k.joints, k.frames, k.stride == 2);
    held.set(truth_residual);
    static const char* kNames[] = {" no residual,", " residual,", " convolved residual,",
                                   " residual in place,"};
    compare<Op>(
        std::string(name) + " " + shape_name(x) + " -> " + std::to_string(k.outputs) + " stride " +
            std::to_string(k.stride) + " taps " + std::to_string(k.taps) +
            kNames[static_cast<int>(k.residual)] + (k.relu_before ? " relu before," : "") +
            (k.split_y ? " split," : ""),
        w, x, k.threads, truth, k.split_y,
        [&](const Op& op, const Activation& y, float* workspace, ThreadPool& threads) {
          Activation residual;
          if (k.residual != Residual::none) residual = in_place ? y : held.view();
          op.run(x, residual, y, workspace, threads);
        },
        {},
        [&](const Held& y) {
          if (in_place) y.set(truth_residual);
        });
  }
};

// sum over channels and taps of weight[row][channel][tap] * from(channel, stride * t + dilation * (tap -
// middle)), zero outside of the clip.
template <class From>
double convolved(const float* weight, int row, int channels, int taps, int dilation, int at, int frames,
                 const From& from) {
  double sum = 0;
  for (int i = 0; i < channels; ++i)
    for (int k = 0; k < taps; ++k) {
      const int t = at + dilation * (k - taps / 2);
      if (t >= 0 && t < frames) sum += weight[(row * channels + i) * taps + k] * from(i, t);
    }
  return sum;
}

// Runs of an op of 8 channels with that stride, without a skip, that do not fit it.
template <class Op>
void refuses_runs(const Op& op, const std::string& name, int stride) {
  const Held x(1, 8, 5, 16, false), residual(1, 8, 5, 16, false), y(1, 8, 5, 16, false);
  Activation good_x = x, good_residual = residual, good_y = y;
  good_x.split = good_residual.split = stride == 2;
  good_y.frames = 16 / stride;
  const Guarded workspace(op.workspace(good_x, 1));
  const auto refuse_run = [&](auto change, const std::string& part, const std::string& what) {
    Activation from = good_x, add = good_residual, to = good_y;
    if (stride == 2) add.data = nullptr;
    change(from, add, to);
    throws([&] { op.run(from, add, to, workspace.data(), pool(1)); }, name + ": " + part, what.c_str());
  };
  refuse_run([](auto& from, auto&, auto&) { from.split = !from.split; },
             "x must be split exactly where the stride is 2", "split of x");
  refuse_run([](auto& from, auto&, auto&) { from.channels = 7; }, "x must be [N, 8, 5, T]", "channels of x");
  refuse_run([](auto& from, auto&, auto&) { from.data = nullptr; }, "x must hold data", "x without data");
  refuse_run([](auto& from, auto& add, auto& to) { from.joints = add.joints = to.joints = 0; },
             "x must hold data", "no joints");
  refuse_run([](auto&, auto&, auto& to) { to.channels = 4; }, "y must be [N, 8, 5, T]", "channels of y");
  refuse_run([](auto&, auto&, auto& to) { to.joints = 6; }, "y must be [N, 8, 5, T]", "joints of y");
  refuse_run([](auto&, auto&, auto& to) { to.frames += 1; }, "y must have 1 bodies and", "frames of y");
  refuse_run([](auto&, auto&, auto& to) { to.bodies = 2; }, "y must have 1 bodies and", "bodies of y");
  refuse_run([&](auto&, auto& add, auto&) { add.data = residual.view().data, add.channels = 4; },
             "the residual must be [1, 8, 5, 16], laid out as x, got [1, 4, 5, 16]", "residual's channels");
  refuse_run([&](auto&, auto& add, auto&) { add.data = residual.view().data, add.split = !add.split; },
             "the residual must be [1, 8, 5, 16], laid out as x", "residual's split");
  refuse_run([&](auto&, auto& add, auto&) { add.data = residual.view().data, add.frames = 17; },
             "the residual must be [1, 8, 5, 16]", "residual's frames");
  if (stride == 2) {
    refuse_run([&](auto&, auto& add, auto&) { add.data = residual.view().data; },
               "a residual of another frame rate needs a convolution", "strided residual");
  }
}

}  // namespace ski_edge
