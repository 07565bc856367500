// One convolution over several frames against plain loops: both strides, every kind of residual, split or
// not.
#include "ski_edge/ops/taps_conv.h"
#include "time_cases.h"

using namespace ski_edge;

namespace {

using R = Residual;
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

  for (const int stride : {1, 2}) {
    taps.stride = stride;
    refuses_runs(TapsConv(taps, Isa::scalar), "taps_conv", stride);
  }
}

}  // namespace

int main() {
  test_taps();
  test_bad_input();
  return summary();
}
