// The mean over persons, joints and frames, and the layer after it, against plain loops.
#include "reference.h"
#include "ski_edge/ops/pool_head.h"

using namespace ski_edge;

namespace {

// The mean of each body by itself.
void test_features() {
  for (const int frames : {1, 2, 13, 16, 17, 63, 64, 65}) {
    for (const bool split : {false, true}) {
      const int bodies = 1 + frames % 3, channels = frames == 64 ? 54 : 5, joints = split ? 17 : 33;
      const Held x(bodies, channels, joints, frames, split);
      const Truth values = noise_like(x, 0, 2, static_cast<unsigned>(frames));
      x.set(values);
      double worst = 0;
      bool intact = true;
      for (const Isa isa : isas()) {
        const Guarded features(static_cast<std::size_t>(bodies * channels));
        pool_features(x, features.data(), isa, pool(1 + frames % 3));
        for (int n = 0; n < bodies; ++n)
          for (int c = 0; c < channels; ++c) {
            double sum = 0;
            for (int v = 0; v < joints; ++v)
              for (int t = 0; t < frames; ++t) sum += values(n, c, v, t);
            const double off = std::abs(features.data()[n * channels + c] - sum / joints / frames);
            worst = std::isfinite(off) ? std::max(worst, off) : 1;
          }
        intact = intact && features.intact();
      }
      // One lane adds up to 33 * 65 numbers one by one, so its partial sums are what rounds.
      expect(worst <= 1e-5 && intact, ("pool_features " + shape_name(x)).c_str());
    }
  }
}

struct Case {
  int clips, persons, channels, classes, joints, frames;
  bool split;
  int threads;
};

const Case kCases[] = {
    {1, 1, 1, 1, 1, 1, false, 1},     {2, 2, 64, 60, 25, 16, false, 2}, {3, 1, 17, 3, 17, 13, false, 3},
    {1, 16, 36, 120, 20, 2, true, 2}, {2, 3, 54, 27, 5, 65, true, 3},   {5, 2, 16, 2, 33, 63, false, 1},
};

void test_heads() {
  unsigned seed = 40;
  for (const Case& k : kCases) {
    const Held x(k.clips * k.persons, k.channels, k.joints, k.frames, k.split);
    const Truth values = noise_like(x, 0, 2, seed += 100);
    x.set(values);
    const std::vector<float> weight = weights(k.classes, k.channels, seed + 1),
                             bias = noise(static_cast<std::size_t>(k.classes), -1, 1, seed + 2);
    PoolHeadWeights w;
    w.channels = k.channels, w.classes = k.classes, w.persons = k.persons;
    w.weight = weight.data(), w.bias = bias.data();
    // [clip][channel] and [clip][class]
    std::vector<double> mean(static_cast<std::size_t>(k.clips * k.channels)), score;
    for (int n = 0; n < k.clips * k.persons; ++n)
      for (int c = 0; c < k.channels; ++c)
        for (int v = 0; v < k.joints; ++v)
          for (int t = 0; t < k.frames; ++t)
            mean[n / k.persons * k.channels + c] += values(n, c, v, t) / k.persons / k.joints / k.frames;
    for (int n = 0; n < k.clips; ++n)
      for (int j = 0; j < k.classes; ++j) {
        score.push_back(bias[j]);
        for (int c = 0; c < k.channels; ++c)
          score.back() += weight[j * k.channels + c] * mean[n * k.channels + c];
      }
    double worst = 0;
    bool intact = true;
    for (const Isa isa : isas()) {
      const PoolHead op(w, isa);
      const Guarded workspace(op.workspace(x, k.threads)), logits(score.size()), features(mean.size());
      op.run(x, logits.data(), features.data(), workspace.data(), pool(k.threads));
      const auto compare_all = [&](const std::vector<double>& truth, const float* got) {
        for (std::size_t i = 0; i < truth.size(); ++i) {
          const double off = std::abs(got[i] - truth[i]);
          worst = std::isfinite(off) ? std::max(worst, off) : 1;
        }
      };
      compare_all(score, logits.data()), compare_all(mean, features.data());
      intact = intact && workspace.intact() && logits.intact() && features.intact();
    }
    // As for the mean alone: partial sums of one lane are what rounds.
    expect(worst <= 2e-5 && intact,
           ("pool_head " + shape_name(x) + " -> " + std::to_string(k.classes)).c_str());
  }
}

void test_bad_input() {
  throws([&] { pool_features(Activation{}, nullptr, Isa::scalar, pool(1)); },
         "pool_features: x must hold data", "pool_features of nothing");
  const std::vector<float> some(64, 0.5f);
  PoolHeadWeights good;
  good.channels = 8, good.classes = 4, good.persons = 2, good.weight = good.bias = some.data();
  const auto refuse_weights = [&](auto change, const std::string& part, const char* what) {
    PoolHeadWeights w = good;
    change(w);
    throws([&] { PoolHead(w, Isa::scalar); }, "pool_head: " + part, what);
  };
  refuse_weights([](auto& w) { w.channels = 0; }, "channels must be 1 to 4096, got 0", "no channels");
  refuse_weights([](auto& w) { w.classes = 100'001; }, "classes must be 1 to 100000, got 100001", "classes");
  refuse_weights([](auto& w) { w.persons = 17; }, "persons must be 1 to 16, got 17", "persons");
  refuse_weights([](auto& w) { w.bias = nullptr; }, "bias must be given, got no data", "no bias");

  const PoolHead op(good, Isa::scalar);
  const Held x(2, 8, 5, 16, false);
  const Guarded workspace(op.workspace(x, 1)), out(64);
  const auto refuse_run = [&](auto change, const std::string& part, const char* what) {
    Activation from = x;
    change(from);
    throws([&] { op.run(from, out.data(), out.data(), workspace.data(), pool(1)); }, "pool_head: " + part,
           what);
  };
  refuse_run([](auto& from) { from.channels = 7; }, "x must be [N, 8, 5, T], got [2, 7, 5, 16]", "channels");
  refuse_run([](auto& from) { from.bodies = 1; }, "x must hold 2 bodies per clip, got [1, 8, 5, 16]",
             "half a clip");
  throws([&] { op.run(x, nullptr, out.data(), workspace.data(), pool(1)); },
         "pool_head: logits must be given", "no logits");
}

}  // namespace

int main() {
  test_features();
  test_heads();
  test_bad_input();
  return summary();
}
