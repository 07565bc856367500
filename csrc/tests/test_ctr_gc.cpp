// CTR-GC against plain loops.
#include "graph_cases.h"
#include "ski_edge/ops/ctr_gc.h"

using namespace ski_edge;

namespace {

struct Relations {
  std::vector<float> relation, relation_bias, expand, expand_bias;
  Relations(const Case& k, unsigned seed)
      : relation(weights(2 * k.subsets * k.relations, k.inputs, seed)),
        relation_bias(noise(static_cast<std::size_t>(2 * k.subsets * k.relations), -1, 1, seed + 1)),
        expand(weights(k.subsets * k.outputs, k.relations * k.subsets * k.joints, seed + 2)),
        expand_bias(noise(static_cast<std::size_t>(k.subsets * k.outputs), -0.1, 0.1, seed + 3)) {}
};

CtrGcWeights ctr_weights(const Case& k, const Data& d, const Relations& r) {
  CtrGcWeights w;
  w.inputs = k.inputs, w.outputs = k.outputs, w.subsets = k.subsets, w.relations = k.relations,
  w.joints = k.joints;
  w.relation = r.relation.data(), w.relation_bias = r.relation_bias.data();
  w.expand = r.expand.data(), w.expand_bias = r.expand_bias.data(), w.adjacency = d.graph.data();
  w.value = d.value.data(), w.value_bias = d.value_bias.data(), w.shift = d.shift.data();
  w.shortcut = k.convolution ? d.shortcut.data() : nullptr;
  return w;
}

Truth ctr_truth(const Case& k, const Data& d, const Relations& r) {
  // Relation `row` of the mean over time at one joint.
  const auto relation = [&](int n, int row, int v) {
    double sum = r.relation_bias[row];
    for (int i = 0; i < k.inputs; ++i) {
      double mean = 0;
      for (int t = 0; t < k.frames; ++t) mean += d.truth_x(n, i, v, t);
      sum += r.relation[row * k.inputs + i] * mean / k.frames;
    }
    return sum;
  };
  // G[n][s][c][u][v]
  std::vector<double> g(static_cast<std::size_t>(k.bodies * k.subsets * k.outputs * k.joints * k.joints));
  const auto at = [&](int n, int s, int c, int u, int v) -> double& {
    return g[((static_cast<std::size_t>((n * k.subsets + s) * k.outputs + c)) * k.joints + u) * k.joints + v];
  };
  const int half = k.subsets * k.relations;
  std::vector<double> q(static_cast<std::size_t>(k.relations * k.joints)), key(q.size());
  for (int n = 0; n < k.bodies; ++n)
    for (int s = 0; s < k.subsets; ++s) {
      for (int i = 0; i < k.relations; ++i)
        for (int v = 0; v < k.joints; ++v) {
          q[i * k.joints + v] = relation(n, s * k.relations + i, v);
          key[i * k.joints + v] = relation(n, half + s * k.relations + i, v);
        }
      for (int u = 0; u < k.joints; ++u)
        for (int v = 0; v < k.joints; ++v) {
          std::vector<double> tangent;
          for (int i = 0; i < k.relations; ++i)
            tangent.push_back(std::tanh(q[i * k.joints + u] - key[i * k.joints + v]));
          for (int c = 0; c < k.outputs; ++c) {
            double sum = static_cast<double>(r.expand_bias[s * k.outputs + c]) +
                         d.graph[(s * k.joints + u) * k.joints + v];
            for (int i = 0; i < k.relations; ++i)
              sum += r.expand[(s * k.outputs + c) * k.relations + i] * tangent[i];
            at(n, s, c, u, v) = sum;
          }
        }
    }
  return mixed(k, d, !k.convolution, k.convolution, at);
}

void test_ctr_gc() {
  unsigned seed = 1;
  for (const Case& k : kCases) {
    const Data d(k, seed += 100);
    const Relations r(k, seed + 50);
    compare<CtrGc>(label("ctr_gc", k, d), ctr_weights(k, d, r), d.x, k.threads, ctr_truth(k, d, r), k.split,
                   [&](const CtrGc& op, const Activation& y, float* workspace, ThreadPool& threads) {
                     op.run(d.x, y, workspace, threads);
                   });
  }
}

void test_bad_input() {
  const Case k{1, 4, 4, 3, 5, 16, false, false, 1, 2};
  const Data d(k, 3);
  const Relations r(k, 4);
  const auto ctr = [&](auto change, const std::string& part, const char* what) {
    throws(
        [&] {
          CtrGcWeights w = ctr_weights(k, d, r);
          change(w);
          CtrGc(w, Isa::scalar);
        },
        "ctr_gc: " + part, what);
  };
  ctr([](auto& w) { w.inputs = 0; }, "inputs must be 1 to 4096, got 0", "ctr_gc: no inputs");
  ctr([](auto& w) { w.outputs = 4097; }, "outputs must be 1 to 4096", "ctr_gc: too many outputs");
  ctr([](auto& w) { w.subsets = 17; }, "subsets must be 1 to 16", "ctr_gc: subsets");
  ctr([](auto& w) { w.relations = -1; }, "relations must be 1 to 4096", "ctr_gc: relations");
  ctr([](auto& w) { w.joints = 257; }, "joints must be 1 to 256", "ctr_gc: joints");
  ctr([](auto& w) { w.outputs = 5; }, "a shortcut from 4 to 5 channels needs a convolution",
      "ctr_gc: shortcut");
  refuses_runs(CtrGc(ctr_weights(k, d, r), Isa::scalar), "ctr_gc", d.x);
}

}  // namespace

int main() {
  test_ctr_gc();
  test_bad_input();
  return summary();
}
