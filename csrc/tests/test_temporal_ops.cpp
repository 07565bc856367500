// Convolutions over time against plain loops: both strides, every kind of residual, split or not.
#include "reference.h"
#include "ski_edge/ops/temporal.h"

using namespace ski_edge;

namespace {

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

using R = Residual;
const Case kMultiScale[] = {
    {1, 4, 4, 1, 1, 1, 5, R::none, 4, false, false, 1},
    {2, 12, 12, 25, 13, 1, 5, R::same, 12, false, false, 2},
    {3, 36, 36, 2, 2, 1, 5, R::convolved, 12, true, false, 3},
    {1, 64, 64, 17, 16, 1, 5, R::in_place, 64, false, false, 2},
    {2, 12, 12, 20, 17, 1, 3, R::same, 12, true, true, 3},
    {1, 36, 36, 25, 63, 1, 5, R::convolved, 4, false, true, 2},
    {1, 64, 64, 5, 65, 1, 5, R::same, 64, true, false, 3},
    {1, 12, 12, 33, 64, 1, 1, R::in_place, 12, false, true, 1},
    {3, 4, 4, 1, 1, 2, 5, R::convolved, 4, false, false, 1},
    {2, 12, 12, 25, 2, 2, 5, R::convolved, 3, true, false, 3},
    {1, 36, 36, 17, 13, 2, 5, R::convolved, 12, false, false, 2},
    {2, 64, 64, 2, 17, 2, 5, R::none, 64, true, false, 2},
    {1, 36, 36, 20, 63, 2, 5, R::convolved, 54, true, true, 3},
    {1, 64, 64, 25, 64, 2, 5, R::convolved, 64, false, false, 1},
    {1, 12, 12, 33, 65, 2, 3, R::convolved, 36, false, true, 3},
    {1, 12, 12, 3, 33, 2, 5, R::none, 12, false, true, 2},
    {1, 4, 4, 1, 0x1001, 2, 5, R::convolved, 1, true, false, 2},
};

void test_multi_scale() {
  unsigned seed = 10;
  for (const Case& k : kMultiScale) {
    const Add add(k, seed += 100);
    const int width = k.outputs / 4;
    const std::vector<float> reduce = weights(3 * width, k.inputs, seed + 10),
                             reduce_bias = noise(static_cast<std::size_t>(3 * width), -1, 1, seed + 11),
                             dilated[] = {weights(width, width * k.taps, seed + 12),
                                          weights(width, width * k.taps, seed + 13)},
                             point = weights(width, k.inputs, seed + 14),
                             // Of both signs: the largest is taken before the scale.
        pool_scale = noise(static_cast<std::size_t>(width), -1.5, 1.5, seed + 15),
                             bias = noise(static_cast<std::size_t>(4 * width), -0.5, 0.5, seed + 16);
    MultiScaleTemporalWeights w;
    w.channels = k.outputs, w.residual_channels = k.residual_channels, w.stride = k.stride, w.taps = k.taps;
    w.reduce = reduce.data(), w.reduce_bias = reduce_bias.data(), w.point = point.data();
    w.dilated[0] = dilated[0].data(), w.dilated[1] = dilated[1].data();
    w.pool_scale = pool_scale.data(), w.bias = bias.data(), w.relu_before = k.relu_before;
    if (k.residual == R::convolved) w.skip = add.skip.data(), w.skip_bias = add.skip_bias.data();

    Truth r(k.bodies, 3 * width, k.joints, k.frames);
    Truth truth(k.bodies, k.outputs, k.joints, add.frames());
    for (int n = 0; n < k.bodies; ++n)
      for (int v = 0; v < k.joints; ++v) {
        const auto x = [&](int i, int t) { return add.truth_x(n, i, v, t); };
        for (int c = 0; c < 3 * width; ++c)
          for (int t = 0; t < k.frames; ++t)
            r(n, c, v, t) =
                std::max(0.0, reduce_bias[c] + convolved(reduce.data(), c, k.inputs, 1, 1, t, k.frames, x));
        for (int t = 0; t < add.frames(); ++t)
          for (int c = 0; c < k.outputs; ++c) {
            const int branch = c / width, row = c % width, at = k.stride * t;
            double sum = 0;
            if (branch < 2) {
              sum = convolved(dilated[branch].data(), row, width, k.taps, branch + 1, at, k.frames,
                              [&](int i, int f) { return r(n, branch * width + i, v, f); });
            } else if (branch == 2) {
              double most = -1e300;
              for (int f = std::max(at - 1, 0); f <= std::min(at + 1, k.frames - 1); ++f)
                most = std::max(most, r(n, 2 * width + row, v, f));
              sum = pool_scale[row] * most;
            } else {
              sum = convolved(point.data(), row, k.inputs, 1, 1, at, k.frames, x);
            }
            sum += bias[c];
            if (k.relu_before) sum = std::max(sum, 0.0);
            sum += add(n, c, v, t) + (k.residual == R::convolved ? add.skip_bias[c] : 0.0f);
            truth(n, c, v, t) = std::max(sum, 0.0);
          }
      }
    add.compare_with<MultiScaleTemporal>("multi_scale_temporal", w, truth);
  }
}

const Case kTaps[] = {
    {1, 3, 4, 1, 1, 1, 9, R::none, 4, false, false, 1},
    {2, 12, 12, 25, 13, 1, 9, R::same, 12, false, false, 2},
    {3, 4, 36, 2, 2, 1, 9, R::convolved, 12, true, false, 3},
    {1, 54, 54, 17, 16, 1, 9, R::in_place, 54, false, false, 2},
    {1, 64, 64, 5, 65, 1, 9, R::same, 64, true, false, 3},
    {1, 36, 54, 20, 63, 1, 5, R::convolved, 4, false, false, 2},
    {1, 1, 1, 33, 64, 1, 1, R::in_place, 1, false, false, 3},
    {3, 4, 4, 1, 1, 2, 9, R::convolved, 4, false, false, 2},
    {2, 12, 12, 25, 2, 2, 9, R::convolved, 3, true, false, 3},
    {1, 36, 36, 17, 13, 2, 9, R::convolved, 12, false, false, 1},
    {2, 54, 12, 2, 17, 2, 7, R::none, 12, true, false, 2},
    {1, 36, 54, 20, 63, 2, 9, R::convolved, 54, true, false, 3},
    {1, 12, 64, 33, 65, 2, 3, R::convolved, 36, false, false, 2},
    {1, 64, 64, 3, 64, 2, 9, R::convolved, 64, false, false, 3},
};

void test_taps() {
  unsigned seed = 20;
  for (const Case& k : kTaps) {
    const Add add(k, seed += 100);
    const std::vector<float> weight = weights(k.outputs, k.inputs * k.taps, seed + 10),
                             bias = noise(static_cast<std::size_t>(k.outputs), -0.5, 1, seed + 11);
    TapsConvWeights w;
    w.inputs = k.inputs, w.outputs = k.outputs, w.residual_channels = k.residual_channels;
    w.stride = k.stride, w.taps = k.taps, w.weight = weight.data(), w.bias = bias.data();
    if (k.residual == R::convolved) w.skip = add.skip.data();
    Truth truth(k.bodies, k.outputs, k.joints, add.frames());
    for (int n = 0; n < k.bodies; ++n)
      for (int v = 0; v < k.joints; ++v)
        for (int t = 0; t < add.frames(); ++t)
          for (int c = 0; c < k.outputs; ++c) {
            const double sum =
                bias[c] + convolved(weight.data(), c, k.inputs, k.taps, 1, k.stride * t, k.frames,
                                    [&](int i, int f) { return add.truth_x(n, i, v, f); });
            truth(n, c, v, t) = std::max(sum + add(n, c, v, t), 0.0);
          }
    add.compare_with<TapsConv>("taps_conv", w, truth);
  }
}

void test_bad_input() {
  const std::vector<float> some(4096, 0.1f);
  MultiScaleTemporalWeights multi;
  multi.channels = 8, multi.residual_channels = 4;
  multi.reduce = multi.reduce_bias = multi.dilated[0] = multi.dilated[1] = multi.point = some.data();
  multi.pool_scale = multi.bias = multi.skip_bias = some.data();
  const auto refuse_multi = [&](auto change, const std::string& part, const char* what) {
    MultiScaleTemporalWeights w = multi;
    change(w);
    throws([&] { MultiScaleTemporal(w, Isa::scalar); }, "multi_scale_temporal: " + part, what);
  };
  refuse_multi([](auto& w) { w.channels = 0; }, "channels must be 1 to 4096, got 0", "multi: no channels");
  refuse_multi([](auto& w) { w.channels = 10; }, "channels must divide by the 4 branches, got 10",
               "multi: channels");
  refuse_multi([](auto& w) { w.stride = 3; }, "stride must be 1 or 2, got 3", "multi: stride");
  refuse_multi([](auto& w) { w.taps = 4; }, "taps must be an odd number up to 5, got 4", "multi: even taps");
  refuse_multi([](auto& w) { w.taps = 7; }, "taps must be an odd number up to 5, got 7", "multi: taps");
  refuse_multi([&](auto& w) { w.skip = some.data(), w.residual_channels = 0; },
               "residual_channels must be 1 to 4096, got 0", "multi: residual channels");
  TapsConvWeights taps;
  taps.inputs = taps.outputs = 8, taps.weight = taps.bias = some.data();
  const auto refuse_taps = [&](auto change, const std::string& part, const char* what) {
    TapsConvWeights w = taps;
    change(w);
    throws([&] { TapsConv(w, Isa::scalar); }, "taps_conv: " + part, what);
  };
  refuse_taps([](auto& w) { w.inputs = -4; }, "inputs must be 1 to 4096, got -4", "taps: inputs");
  refuse_taps([](auto& w) { w.outputs = 5000; }, "outputs must be 1 to 4096", "taps: outputs");
  refuse_taps([](auto& w) { w.stride = 0; }, "stride must be 1 or 2, got 0", "taps: stride");
  refuse_taps([](auto& w) { w.taps = 11; }, "taps must be an odd number up to 9, got 11", "taps: taps");
  refuse_taps([](auto& w) { w.taps = -1; }, "taps must be an odd number up to 9, got -1", "taps: negative");

  const Held x(1, 8, 5, 16, false), residual(1, 8, 5, 16, false), y(1, 8, 5, 16, false);
  for (const int stride : {1, 2}) {
    multi.stride = taps.stride = stride;
    const MultiScaleTemporal multi_op(multi, Isa::scalar);
    const TapsConv taps_op(taps, Isa::scalar);
    Activation good_x = x, good_residual = residual, good_y = y;
    good_x.split = good_residual.split = stride == 2;
    good_y.frames = 16 / stride;
    const Guarded workspace(std::max(multi_op.workspace(good_x, 1), taps_op.workspace(good_x, 1)));
    const auto refuse_run = [&](auto change, const std::string& part, const std::string& what) {
      Activation from = good_x, add = good_residual, to = good_y;
      if (stride == 2) add.data = nullptr;
      change(from, add, to);
      throws([&] { multi_op.run(from, add, to, workspace.data(), pool(1)); }, "multi_scale_temporal: " + part,
             ("multi: " + what).c_str());
      throws([&] { taps_op.run(from, add, to, workspace.data(), pool(1)); }, "taps_conv: " + part,
             ("taps: " + what).c_str());
    };
    refuse_run([](auto& from, auto&, auto&) { from.split = !from.split; },
               "x must be split exactly where the stride is 2", "split of x");
    refuse_run([](auto& from, auto&, auto&) { from.channels = 7; }, "x must be [N, 8, 5, T]",
               "channels of x");
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
}

}  // namespace

int main() {
  test_multi_scale();
  test_taps();
  test_bad_input();
  return summary();
}
