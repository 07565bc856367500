// Four branches of convolution over time against plain loops: both strides, every kind of residual, split or
// not.
#include "ski_edge/ops/multi_scale_temporal.h"
#include "time_cases.h"

using namespace ski_edge;

namespace {

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

  for (const int stride : {1, 2}) {
    multi.stride = stride;
    refuses_runs(MultiScaleTemporal(multi, Isa::scalar), "multi_scale_temporal", stride);
  }
}

}  // namespace

int main() {
  test_multi_scale();
  test_bad_input();
  return summary();
}
