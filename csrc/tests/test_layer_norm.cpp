// LayerNorm over channels against plain loops, in place as well.
#include "reference.h"
#include "ski_edge/ops/layer_norm.h"

using namespace ski_edge;

namespace {

struct Case {
  int bodies, channels, joints, frames;
  bool split, in_place;
  int threads;
};

const Case kCases[] = {
    {1, 1, 1, 1, false, false, 1},  {2, 36, 25, 16, false, true, 2},  {3, 17, 17, 13, true, false, 3},
    {1, 64, 33, 65, true, true, 2}, {2, 54, 20, 63, false, false, 3}, {1, 3, 64, 17, false, false, 1},
    {1, 12, 65, 2, true, false, 2},
};

Truth truth_of(const Truth& x, const std::vector<float>& weight, const std::vector<float>& bias) {
  Truth y(x.bodies, x.channels, x.joints, x.frames);
  for (int n = 0; n < x.bodies; ++n)
    for (int v = 0; v < x.joints; ++v)
      for (int t = 0; t < x.frames; ++t) {
        double mean = 0, variance = 0;
        for (int c = 0; c < x.channels; ++c) mean += x(n, c, v, t) / x.channels;
        for (int c = 0; c < x.channels; ++c) variance += std::pow(x(n, c, v, t) - mean, 2) / x.channels;
        for (int c = 0; c < x.channels; ++c)
          y(n, c, v, t) = (x(n, c, v, t) - mean) / std::sqrt(variance + 1e-5) * weight[c] + bias[c];
      }
  return y;
}

void run_case(const Case& k, double low, double high, double tolerance, const std::string& what) {
  const Held x(k.bodies, k.channels, k.joints, k.frames, k.split);
  const Truth values = noise_like(x, low, high, 50);
  x.set(values);
  const auto count = static_cast<std::size_t>(k.channels);
  const std::vector<float> weight = noise(count, -2, 2, 51), bias = noise(count, -1, 1, 52);
  LayerNormWeights w;
  w.channels = k.channels, w.weight = weight.data(), w.bias = bias.data();
  // Float32 with every instruction set.
  compare<LayerNorm>(
      "layer_norm " + shape_name(x) + what, w, x, k.threads, truth_of(values, weight, bias), k.split,
      [&](const LayerNorm& op, const Activation& y, float* workspace, ThreadPool& threads) {
        op.run(k.in_place ? y : x.view(), y, workspace, threads);
      },
      {tolerance, tolerance},
      [&](const Held& y) {
        if (k.in_place) y.set(values);
      });
}

void test_limits() {
  const Case k{1, 12, 17, 17, false, false, 2};
  run_case(k, 0, 0, 2e-6, " all zero,");
  // One value in all channels: the mean is off by eps / 2 times it, which 1 / sqrt(1e-5) makes 316 times
  // larger.
  run_case(k, 8, 8, 2e-3, " no variance,");
  run_case(k, 29, 31, 1e-5, " far from zero,");
}

void test_bad_input() {
  const std::vector<float> some(64, 0.5f);
  LayerNormWeights good;
  good.channels = 8, good.weight = good.bias = some.data();
  const auto refuse_weights = [&](auto change, const std::string& part, const char* what) {
    LayerNormWeights w = good;
    change(w);
    throws([&] { LayerNorm(w, Isa::scalar); }, "layer_norm: " + part, what);
  };
  refuse_weights([](auto& w) { w.channels = 4097; }, "channels must be 1 to 4096, got 4097", "channels");
  refuse_weights([](auto& w) { w.weight = nullptr; }, "weight must be given, got no data", "no weight");
  const LayerNorm op(good, Isa::scalar);
  const Held x(1, 8, 5, 16, false), y(1, 8, 5, 16, false);
  const auto refuse_run = [&](auto change, const std::string& part, const char* what) {
    Activation from = x, to = y;
    change(from, to);
    throws([&] { op.run(from, to, nullptr, pool(1)); }, "layer_norm: " + part, what);
  };
  refuse_run([](auto& from, auto&) { from.channels = 7; }, "x must be [N, 8, 5, T], got [1, 7, 5, 16]", "x");
  refuse_run([](auto&, auto& to) { to.joints = 4; }, "y must be [N, 8, 5, T], got [1, 8, 4, 16]",
             "y: joints");
  refuse_run([](auto&, auto& to) { to.split = true; }, "y must have the bodies and frames of x", "y: split");
}

}  // namespace

int main() {
  for (const Case& k : kCases) run_case(k, -2, 2, 2e-6, k.in_place ? " in place," : ",");
  test_limits();
  test_bad_input();
  return summary();
}
