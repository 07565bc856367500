// Graph convolutions against plain loops: CTR-GC, and one graph for all channels.
#include "reference.h"
#include "ski_edge/ops/ctr_gc.h"
#include "ski_edge/ops/graph_conv.h"

using namespace ski_edge;

namespace {

struct Case {
  int bodies, inputs, outputs, subsets, joints, frames;
  bool split, convolution;
  int threads, relations;
};

const Case kCases[] = {
    {1, 3, 12, 3, 25, 13, false, true, 1, 8},  {2, 4, 4, 1, 1, 1, false, false, 2, 1},
    {3, 12, 36, 3, 2, 2, true, true, 3, 2},    {1, 36, 36, 3, 17, 16, false, false, 2, 4},
    {2, 54, 54, 3, 20, 17, true, false, 3, 6}, {1, 64, 64, 3, 25, 63, false, false, 2, 8},
    {1, 64, 54, 3, 33, 65, true, true, 1, 8},  {2, 12, 12, 2, 20, 64, false, false, 1, 3},
    {1, 4, 64, 16, 2, 65, false, true, 3, 5},  {3, 1, 1, 1, 33, 1, true, false, 1, 17},
    {1, 17, 36, 3, 17, 33, true, true, 3, 4},  {1, 12, 4, 1, 25, 15, false, true, 2, 64},
};

// What both ops share.
struct Data {
  Held x;
  Truth truth_x;
  std::vector<float> value, value_bias, shift, shortcut, graph;

  Data(const Case& k, unsigned seed)
      : x(k.bodies, k.inputs, k.joints, k.frames, k.split),
        truth_x(noise_like(x, -1, 2, seed)),
        value(weights(k.subsets * k.outputs, k.inputs, seed + 1)),
        value_bias(noise(static_cast<std::size_t>(k.subsets * k.outputs), -1, 1, seed + 2)),
        shift(noise(static_cast<std::size_t>(k.outputs), -0.5, 1, seed + 3)),
        shortcut(weights(k.outputs, k.inputs, seed + 4)),
        graph(weights(k.subsets * k.joints, k.subsets * k.joints, seed + 5)) {
    graph.resize(static_cast<std::size_t>(k.subsets * k.joints * k.joints));
    x.set(truth_x);
  }
};

// y[c, u, t] = relu(sum over s, v of g(n, s, c, u, v) * (value_s x + value_bias_s)[c, v, t] + shift +
// shortcut).
template <class Graph>
Truth mixed(const Case& k, const Data& d, bool identity, bool convolution, const Graph& g) {
  Truth y(k.bodies, k.outputs, k.joints, k.frames);
  std::vector<double> values(static_cast<std::size_t>(k.subsets * k.joints * k.frames));
  for (int n = 0; n < k.bodies; ++n)
    for (int c = 0; c < k.outputs; ++c) {
      for (int s = 0; s < k.subsets; ++s)
        for (int v = 0; v < k.joints; ++v)
          for (int t = 0; t < k.frames; ++t) {
            double sum = d.value_bias[s * k.outputs + c];
            for (int i = 0; i < k.inputs; ++i)
              sum += static_cast<double>(d.value[(s * k.outputs + c) * k.inputs + i]) * d.truth_x(n, i, v, t);
            values[(s * k.joints + v) * k.frames + t] = sum;
          }
      for (int u = 0; u < k.joints; ++u)
        for (int t = 0; t < k.frames; ++t) {
          double sum = d.shift[c];
          for (int s = 0; s < k.subsets; ++s)
            for (int v = 0; v < k.joints; ++v)
              sum += g(n, s, c, u, v) * values[(s * k.joints + v) * k.frames + t];
          if (identity) sum += d.truth_x(n, c, u, t);
          for (int i = 0; convolution && i < k.inputs; ++i)
            sum += static_cast<double>(d.shortcut[c * k.inputs + i]) * d.truth_x(n, i, u, t);
          y(n, c, u, t) = std::max(sum, 0.0);
        }
    }
  return y;
}

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

std::string label(const char* op, const Case& k, const Data& d) {
  return std::string(op) + " " + shape_name(d.x) + " -> " + std::to_string(k.outputs) +
         (k.convolution ? " conv," : ",");
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

GraphConvWeights graph_weights(const Case& k, const Data& d, Shortcut shortcut) {
  GraphConvWeights w;
  w.inputs = k.inputs, w.outputs = k.outputs, w.subsets = k.subsets, w.joints = k.joints;
  w.graph = d.graph.data(), w.value = d.value.data(), w.value_bias = d.value_bias.data();
  w.shift = d.shift.data(), w.shortcut = shortcut;
  if (shortcut == Shortcut::convolution) w.shortcut_weight = d.shortcut.data();
  return w;
}

void test_graph_conv() {
  unsigned seed = 2;
  int turn = 0;
  for (const Case& k : kCases) {
    const Data d(k, seed += 100);
    const bool none = ++turn % 3 == 0;
    const Shortcut shortcut = none            ? Shortcut::none
                              : k.convolution ? Shortcut::convolution
                                              : Shortcut::identity;
    const Truth truth = mixed(k, d, shortcut == Shortcut::identity, shortcut == Shortcut::convolution,
                              [&](int, int s, int, int u, int v) -> double {
                                return d.graph[(s * k.joints + v) * k.joints + u];  // source v, destination u
                              });
    compare<GraphConv>(label("graph_conv", k, d) + (none ? " no shortcut," : ""),
                       graph_weights(k, d, shortcut), d.x, k.threads, truth, k.split,
                       [&](const GraphConv& op, const Activation& y, float* workspace, ThreadPool& threads) {
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
  const auto graph = [&](auto change, const std::string& part, const char* what) {
    throws(
        [&] {
          GraphConvWeights w = graph_weights(k, d, Shortcut::identity);
          change(w);
          GraphConv(w, Isa::scalar);
        },
        "graph_conv: " + part, what);
  };
  graph([](auto& w) { w.inputs = 4097; }, "inputs must be 1 to 4096", "graph_conv: inputs");
  graph([](auto& w) { w.subsets = 0; }, "subsets must be 1 to 16", "graph_conv: subsets");
  graph([](auto& w) { w.joints = 0; }, "joints must be 1 to 256", "graph_conv: joints");
  graph([](auto& w) { w.inputs = 3; }, "a shortcut from 3 to 4 channels needs a convolution",
        "graph_conv: shortcut");

  const CtrGc ctr_op(ctr_weights(k, d, r), Isa::scalar);
  const GraphConv graph_op(graph_weights(k, d, Shortcut::none), Isa::scalar);
  const Held y(1, 4, 5, 16, false);
  const Guarded workspace(std::max(ctr_op.workspace(d.x, 1), graph_op.workspace(d.x, 1)));
  const auto run = [&](auto change, const std::string& part, const char* what) {
    Activation from = d.x, to = y;
    change(from, to);
    throws([&] { ctr_op.run(from, to, workspace.data(), pool(1)); }, "ctr_gc: " + part, what);
    throws([&] { graph_op.run(from, to, workspace.data(), pool(1)); }, "graph_conv: " + part, what);
  };
  run([](auto& x, auto&) { x.data = nullptr; }, "x must hold data", "x without data");
  run([](auto& x, auto&) { x.channels = 3; }, "x must be [N, 4, 5, T], got [1, 3, 5, 16]", "x: channels");
  run([](auto& x, auto&) { x.joints = 6; }, "x must be [N, 4, 5, T]", "x: joints");
  run([](auto& x, auto&) { x.frames = 0; }, "x must hold data", "x: frames");
  run([](auto& x, auto&) { x.bodies = 0; }, "x must hold data", "x: bodies");
  run([](auto&, auto& to) { to.channels = 5; }, "y must be [N, 4, 5, T]", "y: channels");
  run([](auto&, auto& to) { to.frames = 15; }, "y must have the bodies and frames of x", "y: frames");
  run([](auto&, auto& to) { to.split = true; }, "y must have the bodies and frames of x", "y: split");
}

}  // namespace

int main() {
  test_ctr_gc();
  test_graph_conv();
  test_bad_input();
  return summary();
}
