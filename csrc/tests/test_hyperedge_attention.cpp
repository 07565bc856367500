// Hyperedge attention against plain loops, and what LayerNorm and softmax do at their limits.
#include "reference.h"
#include "ski_edge/ops/hyperedge_attention.h"

using namespace ski_edge;

namespace {

struct Case {
  int bodies, inputs, outputs, joints, heads, groups, hops, project_groups, frames;
  bool split, convolution;
  int threads;
};

const Case kCases[] = {
    {1, 3, 36, 25, 9, 5, 9, 3, 13, false, true, 1},    {2, 4, 4, 1, 1, 1, 1, 1, 1, false, false, 2},
    {3, 12, 12, 2, 3, 2, 2, 4, 2, true, false, 3},     {1, 36, 36, 17, 9, 4, 6, 9, 16, false, false, 2},
    {1, 64, 54, 20, 9, 5, 11, 1, 17, true, true, 1},   {1, 64, 64, 25, 4, 6, 7, 8, 63, false, false, 2},
    {1, 54, 54, 33, 3, 7, 12, 9, 65, true, false, 3},  {2, 12, 64, 20, 8, 3, 5, 16, 64, false, true, 1},
    {1, 36, 12, 17, 12, 17, 17, 6, 33, true, true, 3}, {1, 1, 6, 5, 2, 1, 5, 3, 15, false, true, 2},
};

struct Data {
  const Case& k;
  std::vector<float> qkv, qkv_bias, group_features, hop_features, group_weight, attention_bias, project,
      project_bias, shortcut;
  std::vector<int> group_of, hop_of;

  Data(const Case& c, unsigned seed)
      : k(c),
        qkv(weights(3 * k.outputs, k.inputs, seed)),
        qkv_bias(noise(static_cast<std::size_t>(3 * k.outputs), -0.5, 0.5, seed + 1)),
        group_features(weights(k.outputs, k.inputs, seed + 2)),
        hop_features(noise(static_cast<std::size_t>(k.hops * k.outputs), -1, 1, seed + 3)),
        group_weight(noise(static_cast<std::size_t>(k.outputs), -1, 1, seed + 4)),
        attention_bias(noise(static_cast<std::size_t>(k.heads * k.joints * k.joints), -0.3, 0.3, seed + 5)),
        project(weights(k.outputs, k.outputs / k.project_groups, seed + 6)),
        project_bias(noise(static_cast<std::size_t>(k.outputs), -0.5, 0.5, seed + 7)),
        shortcut(weights(k.outputs, k.inputs, seed + 8)) {
    std::mt19937 random(seed + 9);
    for (int v = 0; v < k.joints; ++v) {
      // Every group has a joint.
      group_of.push_back(v < k.groups ? v : static_cast<int>(random() % static_cast<unsigned>(k.groups)));
    }
    for (int i = 0; i < k.joints * k.joints; ++i) {
      hop_of.push_back(static_cast<int>(random() % static_cast<unsigned>(k.hops)));
    }
  }
  HyperedgeAttentionWeights weights_of() const {
    HyperedgeAttentionWeights w;
    w.inputs = k.inputs, w.outputs = k.outputs, w.joints = k.joints, w.heads = k.heads, w.groups = k.groups;
    w.hops = k.hops, w.project_groups = k.project_groups;
    w.qkv = qkv.data(), w.qkv_bias = qkv_bias.data(), w.group_features = group_features.data();
    w.hop_features = hop_features.data(), w.group_weight = group_weight.data();
    w.attention_bias = attention_bias.data(), w.project = project.data();
    w.project_bias = project_bias.data(), w.shortcut = k.convolution ? shortcut.data() : nullptr;
    w.group_of = group_of.data(), w.hop_of = hop_of.data(), w.gain = 0.75f;
    return w;
  }
};

// sum over i of matrix[row][i] * column[i]
double dot(const std::vector<float>& matrix, int row, const std::vector<double>& column) {
  double sum = 0;
  for (std::size_t i = 0; i < column.size(); ++i)
    sum += matrix[static_cast<std::size_t>(row) * column.size() + i] * column[i];
  return sum;
}

// The header's formula for one body and frame.
void frame_truth(const Data& d, const Truth& x, int n, int t, Truth& y) {
  const Case& k = d.k;
  const int c = k.outputs / k.heads, width = k.outputs / k.project_groups;
  std::vector<std::vector<double>> own, normed, groups(k.groups, std::vector<double>(k.inputs, 0.0));
  std::vector<int> members(k.groups, 0);
  for (int v = 0; v < k.joints; ++v) {
    std::vector<double> column(k.inputs);
    double mean = 0, variance = 0;
    for (int i = 0; i < k.inputs; ++i) column[i] = x(n, i, v, t), mean += column[i] / k.inputs;
    for (const double value : column) variance += (value - mean) * (value - mean) / k.inputs;
    ++members[d.group_of[v]];
    for (int i = 0; i < k.inputs; ++i) groups[d.group_of[v]][i] += column[i];
    own.push_back(column);
    for (double& value : column) value = (value - mean) / std::sqrt(variance + 1e-5);
    normed.push_back(column);
  }
  for (int g = 0; g < k.groups; ++g)
    for (double& value : groups[g]) value /= members[g];

  std::vector<std::vector<double>> mixed(k.joints, std::vector<double>(k.outputs));
  for (int h = 0; h < k.heads; ++h) {
    // [joint or group][channel of the head]
    const auto part = [&](const std::vector<float>& matrix, int first, const float* bias,
                          const auto& columns) {
      std::vector<std::vector<double>> out;
      for (const auto& column : columns) {
        out.emplace_back();
        for (int i = 0; i < c; ++i)
          out.back().push_back(dot(matrix, first + i, column) + (bias != nullptr ? bias[first + i] : 0.0f));
      }
      return out;
    };
    const auto q = part(d.qkv, h * c, d.qkv_bias.data(), normed);
    const auto key = part(d.qkv, k.outputs + h * c, d.qkv_bias.data(), normed);
    const auto value = part(d.qkv, 2 * k.outputs + h * c, d.qkv_bias.data(), normed);
    const auto e = part(d.group_features, h * c, nullptr, groups);
    for (int a = 0; a < k.joints; ++a) {
      std::vector<double> score(k.joints, 0.0);
      for (int m = 0; m < k.joints; ++m) {
        const int g = d.group_of[m], hop = d.hop_of[a * k.joints + m];
        for (int i = 0; i < c; ++i)
          score[m] += q[a][i] * (key[m][i] + e[g][i] + d.hop_features[hop * k.outputs + h * c + i]) +
                      d.group_weight[h * c + i] * e[g][i];
        score[m] /= std::sqrt(static_cast<double>(c));
      }
      const double most = *std::max_element(score.begin(), score.end());
      double total = 0;
      for (double& s : score) total += s = std::exp(s - most);
      for (int m = 0; m < k.joints; ++m) {
        const double weight = 0.75 * score[m] / total + d.attention_bias[(h * k.joints + a) * k.joints + m];
        for (int i = 0; i < c; ++i) mixed[a][h * c + i] += weight * value[m][i];
      }
    }
  }
  for (int v = 0; v < k.joints; ++v)
    for (int o = 0; o < k.outputs; ++o) {
      const int first = o / width * width;
      const std::vector<double> column(mixed[v].begin() + first, mixed[v].begin() + first + width);
      y(n, o, v, t) = dot(d.project, o, column) + d.project_bias[o] +
                      (k.convolution ? dot(d.shortcut, o, own[v]) : x(n, o, v, t));
    }
}

void run_case(const Data& d, const Held& x, const Truth& truth_x, const std::string& what,
              const Tolerance& tolerance = {}) {
  const Case& k = d.k;
  x.set(truth_x);
  Truth truth(k.bodies, k.outputs, k.joints, k.frames);
  for (int n = 0; n < k.bodies; ++n)
    for (int t = 0; t < k.frames; ++t) frame_truth(d, truth_x, n, t, truth);
  compare<HyperedgeAttention>(
      "attention " + shape_name(x) + " -> " + std::to_string(k.outputs) + " heads " +
          std::to_string(k.heads) + (k.convolution ? " conv," : ",") + what,
      d.weights_of(), x, k.threads, truth, k.split,
      [&](const HyperedgeAttention& op, const Activation& y, float* workspace, ThreadPool& threads) {
        op.run(x, y, workspace, threads);
      },
      tolerance);
}

void test_shapes() {
  unsigned seed = 30;
  for (const Case& k : kCases) {
    const Data d(k, seed += 100);
    const Held x(k.bodies, k.inputs, k.joints, k.frames, k.split);
    run_case(d, x, noise_like(x, -1, 1, seed + 20), "");
  }
}

void test_limits() {
  const Case k{1, 12, 12, 17, 3, 4, 6, 3, 17, false, false, 2};
  Data d(k, 7);
  const Held x(k.bodies, k.inputs, k.joints, k.frames, k.split);
  // A body that is not there: no variance.
  Truth values = noise_like(x, 0, 0, 1);
  run_case(d, x, values, " all zero,");
  // One value in all channels: the mean is off by eps / 2 times it, which 1 / sqrt(1e-5) makes 316 times
  // larger.
  for (double& value : values.values) value = 8;
  run_case(d, x, values, " no variance,", {2e-3, 1e-2});
  // A mean of 30 deviations: two passes lose 30 eps of it, the mean of squares less the square of the mean
  // 900.
  values = noise_like(x, 29, 31, 2);
  run_case(d, x, values, " far from zero,", {2e-6, 1e-2});
  // Scores up to some hundreds: softmax is nearly a choice, and e^x far below what a float holds. bfloat16
  // cannot tell which is largest, but must give numbers.
  values = noise_like(x, -1, 1, 3);
  for (float& weight : d.hop_features) weight *= 60;
  run_case(d, x, values, " large scores,", {1e-4, 10});
}

void test_bad_input() {
  const Case k{1, 8, 8, 5, 2, 3, 4, 2, 16, false, false, 1};
  const Data d(k, 5);
  const auto refuse_weights = [&](auto change, const std::string& part, const char* what) {
    HyperedgeAttentionWeights w = d.weights_of();
    change(w);
    throws([&] { HyperedgeAttention(w, Isa::scalar); }, "hyperedge_attention: " + part, what);
  };
  refuse_weights([](auto& w) { w.inputs = 0; }, "inputs must be 1 to 4096, got 0", "no inputs");
  refuse_weights([](auto& w) { w.outputs = 4097; }, "outputs must be 1 to 4096", "outputs");
  refuse_weights([](auto& w) { w.joints = 257; }, "joints must be 1 to 256", "joints");
  refuse_weights([](auto& w) { w.heads = 3; }, "8 outputs must divide by heads (3)", "heads");
  refuse_weights([](auto& w) { w.heads = 9; }, "heads must be 1 to 8", "more heads than outputs");
  refuse_weights([](auto& w) { w.project_groups = 3; },
                 "8 outputs must divide by heads (2) and project_groups (3)", "project groups");
  refuse_weights([](auto& w) { w.groups = 6; }, "groups must be 1 to 5", "more groups than joints");
  refuse_weights([](auto& w) { w.hops = 0; }, "hops must be 1 to 5", "no hops");
  refuse_weights([](auto& w) { w.inputs = 4; }, "a shortcut from 4 to 8 channels needs a convolution",
                 "shortcut");
  refuse_weights([](auto& w) { w.groups = 2; }, "group 2 is not one of 2", "group of a joint");
  refuse_weights([](auto& w) { w.groups = 4; }, "group 3 has no joint", "empty group");
  const std::vector<int> hops(25, 4);
  refuse_weights([&](auto& w) { w.hop_of = hops.data(); }, "hop 4 is not one of 4", "hop");
  const std::vector<int> groups = {0, 1, 2, 0, -1};
  refuse_weights([&](auto& w) { w.group_of = groups.data(); }, "group -1 is not one of 3", "negative group");

  const HyperedgeAttention op(d.weights_of(), Isa::scalar);
  const Held x(1, 8, 5, 16, false), y(1, 8, 5, 16, false);
  const Guarded workspace(op.workspace(x, 1));
  const auto refuse_run = [&](auto change, const std::string& part, const char* what) {
    Activation from = x, to = y;
    change(from, to);
    throws([&] { op.run(from, to, workspace.data(), pool(1)); }, "hyperedge_attention: " + part, what);
  };
  refuse_run([](auto& from, auto&) { from.data = nullptr; }, "x must hold data", "x without data");
  refuse_run([](auto& from, auto&) { from.joints = 4; }, "x must be [N, 8, 5, T], got [1, 8, 4, 16]",
             "x: joints");
  refuse_run([](auto&, auto& to) { to.channels = 4; }, "y must be [N, 8, 5, T]", "y: channels");
  refuse_run([](auto&, auto& to) { to.bodies = 2; }, "y must have the bodies and frames of x", "y: bodies");
  refuse_run([](auto&, auto& to) { to.split = true; }, "y must have the bodies and frames of x", "y: split");
}

}  // namespace

int main() {
  test_shapes();
  test_limits();
  test_bad_input();
  return summary();
}
