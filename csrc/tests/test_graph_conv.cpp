// One graph for all channels against plain loops.
#include "graph_cases.h"
#include "ski_edge/ops/graph_conv.h"

using namespace ski_edge;

namespace {

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
    const bool none = ++turn % 3 == 0, relu = turn % 4 != 0;
    const Shortcut shortcut = none            ? Shortcut::none
                              : k.convolution ? Shortcut::convolution
                                              : Shortcut::identity;
    const Truth truth = mixed(
        k, d, shortcut == Shortcut::identity, shortcut == Shortcut::convolution,
        [&](int, int s, int, int u, int v) -> double {
          return d.graph[(s * k.joints + v) * k.joints + u];  // source v, destination u
        },
        relu);
    GraphConvWeights w = graph_weights(k, d, shortcut);
    w.relu = relu;
    compare<GraphConv>(label("graph_conv", k, d) + (none ? " no shortcut," : "") + (relu ? "" : " no relu,"),
                       w, d.x, k.threads, truth, k.split,
                       [&](const GraphConv& op, const Activation& y, float* workspace, ThreadPool& threads) {
                         op.run(d.x, y, workspace, threads);
                       });
  }
}

void test_bad_input() {
  const Case k{1, 4, 4, 3, 5, 16, false, false, 1, 2};
  const Data d(k, 3);
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
  refuses_runs(GraphConv(graph_weights(k, d, Shortcut::none), Isa::scalar), "graph_conv", d.x);
}

}  // namespace

int main() {
  test_graph_conv();
  test_bad_input();
  return summary();
}
