// The CUDA kernels, on the host and on every device there is, against the CPU's scalar kernels, which have
// plain loops as their truth. Columns beyond a body's last hold NaN; channels beyond the last hold zeros, as
// the layout promises, and a kernel that writes must keep that promise. On the host shared memory is NaN
// before each block (machine.h).
#include <functional>

#include "engine/cuda/network.h"
#include "reference.h"
#include "ski_edge/device.h"

using namespace ski_edge;
namespace gpu = ski_edge::cuda;

namespace {

// What a type may be off by, of the largest result: three products of rounded factors in a row.
template <class T>
double tolerance() {
  return sizeof(T) == 4 ? 4e-6 : std::is_same_v<T, gpu::Half> ? 4e-3 : 3e-2;
}

// Columns of an activation in either order.
struct Columns {
  int joints, frames;
  bool by_joint;  // (joint, frame) instead of (frame, joint)

  int count() const {
    return by_joint ? joints * gpu::round_up(frames, 8) : gpu::round_up(joints * frames, 8);
  }
  int at(int v, int t) const { return by_joint ? v * gpu::round_up(frames, 8) + t : t * joints + v; }
};

template <class T>
std::vector<T> to_blocks(const Held& x, const Columns& columns, bool coordinates) {
  const Activation& view = x.view();
  const int channels = coordinates ? 16 : gpu::padded(view.channels);
  const std::size_t body = static_cast<std::size_t>(columns.count()) * static_cast<std::size_t>(channels);
  std::vector<T> out(body * static_cast<std::size_t>(view.bodies),
                     gpu::from_float<T>(std::numeric_limits<float>::quiet_NaN()));
  for (int n = 0; n < view.bodies; ++n)
    for (int v = 0; v < view.joints; ++v)
      for (int t = 0; t < view.frames; ++t)
        for (int c = 0; c < channels; ++c) {
          float value = 0;
          if (coordinates && c < 9) {
            const float whole = x.at(n, c % 3, v, t), high = gpu::to_float(gpu::from_float<T>(whole));
            value = c < 3 || c >= 6 ? high : whole - high;
          } else if (!coordinates && c < view.channels) {
            value = x.at(n, c, v, t);
          }
          out[body * static_cast<std::size_t>(n) +
              static_cast<std::size_t>(gpu::place_of(columns.at(v, t), c, channels))] =
              gpu::from_float<T>(value);
        }
  return out;
}

// max |y - truth| / max |truth|; infinite where a padding channel is not zero.
template <class T>
double difference(const std::vector<T>& y, const Columns& columns, const Held& truth) {
  const Activation& view = truth.view();
  const int channels = gpu::padded(view.channels);
  const std::size_t body = static_cast<std::size_t>(columns.count()) * static_cast<std::size_t>(channels);
  double worst = 0, largest = 0;
  for (int n = 0; n < view.bodies; ++n)
    for (int v = 0; v < view.joints; ++v)
      for (int t = 0; t < view.frames; ++t)
        for (int c = 0; c < channels; ++c) {
          const float got =
              gpu::to_float(y[body * static_cast<std::size_t>(n) +
                              static_cast<std::size_t>(gpu::place_of(columns.at(v, t), c, channels))]);
          const double want = c < view.channels ? truth.at(n, c, v, t) : 0.0;
          if (!std::isfinite(got) || (c >= view.channels && got != 0))
            return std::numeric_limits<double>::infinity();
          worst = std::max(worst, std::abs(got - want)), largest = std::max(largest, std::abs(want));
        }
  return worst / largest;
}

template <class T>
struct Memory {
  std::shared_ptr<T> on_device;
  std::vector<T> host;

  Memory(const gpu::Machine& machine, std::vector<T> numbers)
      : on_device(machine.upload(numbers)), host(numbers) {}
  const std::vector<T>& fetch(const gpu::Machine& machine) {
    machine.copy(host.data(), on_device.get(), host.size() * sizeof(T));
    machine.wait();
    return host;
  }
};

struct Shape {
  int bodies, inputs, outputs, joints, frames;
  bool first;  // a network's first block: coordinates
};

// Held activations and the CPU's result.
struct Case {
  Shape k;
  Held x, y;
  std::string name;

  Case(const std::string& op, const Shape& shape, int outputs, int stride)
      : k(shape),
        x(k.bodies, k.inputs, k.joints, k.frames, stride == 2),
        y(k.bodies, outputs, k.joints, (k.frames + stride - 1) / stride, false),
        name(op + " " + shape_name(x) + " -> " + std::to_string(outputs) + " stride " +
             std::to_string(stride)) {
    x.set(noise_like(x, -1, 2, static_cast<unsigned>(outputs + 7 * k.joints)));
  }
  template <class Op>
  void run(const Op& op) {
    const Guarded workspace(op.workspace(x, 1));
    op.run(x, y, workspace.data(), pool(1));
  }
};

template <class T>
void report(const Case& each, const gpu::Machine& machine, double found) {
  char text[200];
  std::snprintf(text, sizeof text, "%s %s on %s: error %.1e", each.name.c_str(),
                sizeof(T) == 4                 ? "fp32"
                : std::is_same_v<T, gpu::Half> ? "fp16"
                                               : "bf16",
                machine.host() ? "the host" : "the device", found);
  expect(found <= tolerance<T>(), text);
}

const Shape kGraphs[] = {{1, 3, 20, 25, 13, true},   {2, 16, 16, 1, 1, false},   {1, 36, 36, 17, 16, false},
                         {1, 64, 64, 25, 63, false}, {1, 64, 40, 33, 65, false}, {3, 20, 20, 2, 9, false}};

struct GraphData {
  std::vector<float> value, value_bias, shift, shortcut, graph, relation, relation_bias, expand, expand_bias;
  static constexpr int kRelations = 5;
  explicit GraphData(const Shape& k)
      : value(weights(3 * k.outputs, k.inputs, 1)),
        value_bias(noise(static_cast<std::size_t>(3 * k.outputs), -1, 1, 2)),
        shift(noise(static_cast<std::size_t>(k.outputs), -0.5, 1, 3)),
        shortcut(weights(k.outputs, k.inputs, 4)),
        graph(weights(3 * k.joints, k.joints, 5)),
        relation(weights(6 * kRelations, k.inputs, 6)),
        relation_bias(noise(6 * kRelations, -1, 1, 7)),
        expand(weights(3 * k.outputs, kRelations * 3 * k.joints, 8)),
        expand_bias(noise(static_cast<std::size_t>(3 * k.outputs), -0.1, 0.1, 9)) {}
};

template <class T>
void graph_kernels(const gpu::Machine& machine, Case& each, const gpu::DeviceBlocks<T>& made,
                   int block_frames) {
  const Shape& k = each.k;
  const Columns in{k.joints, k.frames, false}, out{k.joints, k.frames, true};
  Memory<T> x(machine, to_blocks<T>(each.x, in, k.first));
  Memory<T> y(machine,
              std::vector<T>(static_cast<std::size_t>(k.bodies * out.count() * gpu::padded(k.outputs))));
  gpu::GraphConvArgs<T> args = made.made[0].graph_conv;
  args.x = x.on_device.get(), args.y = y.on_device.get();
  args.bodies = k.bodies, args.frames = k.frames, args.block_frames = block_frames;
  std::shared_ptr<void> graphs;
  if (made.made[0].refined) {
    const int channels = args.inputs;
    std::vector<float> sums(static_cast<std::size_t>(k.bodies * k.joints * channels));
    for (int n = 0; n < k.bodies; ++n)
      for (int v = 0; v < k.joints; ++v)
        for (int t = 0; t < k.frames; ++t)
          for (int c = 0; c < channels; ++c)
            sums[static_cast<std::size_t>((n * k.joints + v) * channels + c)] +=
                gpu::to_float(x.host[static_cast<std::size_t>(n * in.count() * channels) +
                                     static_cast<std::size_t>(gpu::place_of(in.at(v, t), c, channels))]);
    Memory<float> held(machine, sums);
    graphs = machine.memory(static_cast<std::size_t>(k.bodies * args.graph_body_step) * sizeof(T));
    gpu::TopologyArgs<T> topology = made.made[0].topology;
    topology.sums = held.on_device.get(), topology.scale = 1.0f / static_cast<float>(k.frames);
    topology.bodies = k.bodies, topology.graphs = static_cast<T*>(graphs.get()), topology.block_joints = 3;
    machine.launch<gpu::TopologyKernel<T>>(topology);
    machine.wait();
    args.graphs = topology.graphs;
  }
  machine.launch<gpu::GraphConvKernel<T>>(args);
  report<T>(each, machine, difference(y.fetch(machine), out, each.y));
}

template <class T>
void test_graphs(const gpu::Machine& machine) {
  int turn = 0;
  for (const Shape& k : kGraphs) {
    const GraphData d(k);
    const bool wider = k.inputs != k.outputs;
    CtrGcWeights refined;
    refined.inputs = k.inputs, refined.outputs = k.outputs, refined.subsets = 3, refined.joints = k.joints;
    refined.relations = GraphData::kRelations;
    refined.relation = d.relation.data(), refined.relation_bias = d.relation_bias.data();
    refined.expand = d.expand.data(), refined.expand_bias = d.expand_bias.data();
    refined.adjacency = d.graph.data(), refined.value = d.value.data(),
    refined.value_bias = d.value_bias.data();
    refined.shift = d.shift.data(), refined.shortcut = wider ? d.shortcut.data() : nullptr;
    GraphConvWeights plain;
    plain.inputs = k.inputs, plain.outputs = k.outputs, plain.subsets = 2, plain.joints = k.joints;
    plain.graph = d.graph.data(), plain.value = d.value.data(), plain.value_bias = d.value_bias.data();
    plain.shift = d.shift.data();
    plain.shortcut = wider ? Shortcut::convolution : turn % 2 == 0 ? Shortcut::identity : Shortcut::none;
    plain.shortcut_weight = wider ? d.shortcut.data() : nullptr;
    const auto compare_with = [&](const char* name, const auto& op, const auto& w) {
      Case each(name, k, k.outputs, 1);
      each.run(op);
      gpu::DeviceBlocks<T> made(machine);
      if (!k.first) made.block(1, 1, 1, false);  // coordinates enter a first block only
      made.spatial(w);
      made.block(k.inputs, k.outputs, 1, false);
      made.made.erase(made.made.begin(), made.made.end() - 1);
      graph_kernels<T>(machine, each, made, ++turn % 2 == 0 ? 8 : 16);
    };
    compare_with("ctr_gc", CtrGc(refined, Isa::scalar), refined);
    compare_with("graph_conv", GraphConv(plain, Isa::scalar), plain);
  }
}

template <class T>
void test_attention(const gpu::Machine& machine) {
  struct Sizes {
    Shape k;
    int heads, groups, hops, project_groups, block_frames;
  };
  const Sizes all[] = {{{1, 3, 36, 25, 13, true}, 9, 5, 9, 6, 1},
                       {{2, 36, 36, 17, 9, false}, 9, 4, 6, 6, 2},
                       {{1, 216, 216, 25, 3, false}, 9, 5, 12, 6, 2},
                       {{1, 64, 64, 33, 5, false}, 4, 7, 12, 4, 1},
                       {{1, 12, 12, 2, 1, false}, 3, 2, 2, 3, 1}};
  for (const Sizes& s : all) {
    const Shape& k = s.k;
    const int o = k.outputs, v = k.joints;
    const std::vector<float> qkv = weights(3 * o, k.inputs, 1),
                             qkv_bias = noise(static_cast<std::size_t>(3 * o), -0.5, 0.5, 2),
                             features = weights(o, k.inputs, 3),
                             hop = noise(static_cast<std::size_t>(s.hops * o), -1, 1, 4),
                             weight = noise(static_cast<std::size_t>(o), -1, 1, 5),
                             bias = noise(static_cast<std::size_t>(s.heads * v * v), -0.3, 0.3, 6),
                             project = weights(o, o / s.project_groups, 7),
                             project_bias = noise(static_cast<std::size_t>(o), -0.5, 0.5, 8),
                             shortcut = weights(o, k.inputs, 9);
    std::vector<int> group_of, hop_of;
    for (int i = 0; i < v; ++i) group_of.push_back(i % s.groups);
    for (int i = 0; i < v * v; ++i) hop_of.push_back((i * 7 + i / v) % s.hops);
    HyperedgeAttentionWeights w;
    w.inputs = k.inputs, w.outputs = o, w.joints = v, w.heads = s.heads, w.groups = s.groups, w.hops = s.hops;
    w.project_groups = s.project_groups, w.gain = 0.75f;
    w.qkv = qkv.data(), w.qkv_bias = qkv_bias.data(), w.group_features = features.data(),
    w.hop_features = hop.data();
    w.group_weight = weight.data(), w.attention_bias = bias.data(), w.project = project.data();
    w.project_bias = project_bias.data(), w.shortcut = k.inputs != o ? shortcut.data() : nullptr;
    w.group_of = group_of.data(), w.hop_of = hop_of.data();
    Case each("hyperedge_attention", k, o, 1);
    each.run(HyperedgeAttention(w, Isa::scalar));
    gpu::DeviceBlocks<T> made(machine);
    if (!k.first) made.block(1, 1, 1, false);
    made.spatial(w);
    made.block(k.inputs, o, 1, true);
    const Columns in{v, k.frames, false}, out{v, k.frames, true};
    Memory<T> x(machine, to_blocks<T>(each.x, in, k.first));
    Memory<T> y(machine, std::vector<T>(static_cast<std::size_t>(k.bodies * out.count() * gpu::padded(o))));
    gpu::AttentionArgs<T> args = made.made.back().attention;
    args.x = x.on_device.get(), args.y = y.on_device.get(), args.bodies = k.bodies, args.frames = k.frames;
    args.block_frames = s.block_frames, args.by_block_frames = gpu::Divisor(s.block_frames);
    if (args.columns() <= 32) {
      machine.launch<gpu::AttentionKernel<T, 4>>(args);
    } else {
      machine.launch<gpu::AttentionKernel<T, 7>>(args);
    }
    report<T>(each, machine, difference(y.fetch(machine), out, each.y));
  }
}

// One kernel over time with its residual; sums are compared with y's.
template <class T>
void time_kernel(const gpu::Machine& machine, Case& each, gpu::TemporalArgs<T> args, const Held& residual,
                 bool added, int block_frames, int block_joints) {
  const Shape& k = each.k;
  const Columns in{k.joints, k.frames, true}, before{k.joints, k.frames, false};
  const Columns out{k.joints, each.y.view().frames, false};
  Memory<T> x(machine, to_blocks<T>(each.x, in, false)), add(machine, to_blocks<T>(residual, before, false));
  Memory<T> y(machine, std::vector<T>(static_cast<std::size_t>(k.bodies * out.count() * args.outputs)));
  args.x = x.on_device.get(), args.y = y.on_device.get(),
  args.residual = added ? add.on_device.get() : nullptr;
  args.bodies = k.bodies, args.frames = k.frames, args.joints = k.joints;
  args.cut(block_frames, block_joints);
  Memory<float> sums(machine, std::vector<float>(static_cast<std::size_t>(k.bodies * args.chunks * k.joints *
                                                                          args.outputs)));
  args.sums = sums.on_device.get();
  if (args.tile == 2) {
    machine.launch<gpu::TemporalKernel<T, 2>>(args);
  } else {
    machine.launch<gpu::TemporalKernel<T, 1>>(args);
  }
  double found = difference(y.fetch(machine), out, each.y), off = 0, largest = 0;
  sums.fetch(machine);
  for (int n = 0; n < k.bodies; ++n)
    for (int v = 0; v < k.joints; ++v)
      for (int c = 0; c < each.y.view().channels; ++c) {
        double want = 0, got = 0;
        for (int t = 0; t < out.frames; ++t) want += each.y.at(n, c, v, t);
        for (int chunk = 0; chunk < args.chunks; ++chunk) {
          got += sums.host[static_cast<std::size_t>(
              ((n * args.chunks + chunk) * k.joints + v) * args.outputs + c)];
        }
        off = std::max(off, std::abs(got - want)), largest = std::max(largest, std::abs(want));
      }
  report<T>(each, machine, std::max(found, off / largest));
}

template <class T>
void test_time(const gpu::Machine& machine) {
  struct Sizes {
    Shape k;
    int stride, residual;  // 0: none, -1: as it is, else channels of a convolved one
    int block_frames, block_joints;
  };
  const Sizes all[] = {
      {{1, 64, 64, 25, 63, false}, 1, -1, 64, 2},  {{1, 64, 64, 25, 64, false}, 2, 32, 32, 2},
      {{2, 36, 36, 17, 9, false}, 1, 12, 8, 1},    {{1, 36, 36, 3, 65, false}, 2, 36, 16, 2},
      {{1, 216, 216, 2, 64, false}, 1, -1, 64, 1}, {{1, 128, 128, 2, 65, false}, 1, 0, 32, 2},
      {{2, 16, 16, 1, 1, false}, 1, -1, 8, 1},     {{1, 12, 12, 2, 2, false}, 2, 20, 8, 2}};
  for (const Sizes& s : all) {
    const Shape& k = s.k;
    const int width = k.outputs / 4, channels = s.residual > 0 ? s.residual : k.outputs;
    Held residual(k.bodies, channels, k.joints, k.frames, s.stride == 2);
    residual.set(noise_like(residual, -1, 1, 40));
    const std::vector<float> reduce = weights(3 * width, k.inputs, 10),
                             reduce_bias = noise(static_cast<std::size_t>(3 * width), -1, 1, 11),
                             near = weights(width, width * 5, 12), far = weights(width, width * 5, 13),
                             point = weights(width, k.inputs, 14),
                             pool_scale = noise(static_cast<std::size_t>(width), -1.5, 1.5, 15),
                             bias = noise(static_cast<std::size_t>(k.outputs), -0.5, 0.5, 16),
                             taps = weights(k.outputs, k.inputs * 9, 17),
                             skip = weights(k.outputs, channels, 18),
                             skip_bias = noise(static_cast<std::size_t>(k.outputs), -0.5, 0.5, 19);
    MultiScaleTemporalWeights multi;
    multi.channels = k.outputs, multi.residual_channels = channels, multi.stride = s.stride;
    multi.reduce = reduce.data(), multi.reduce_bias = reduce_bias.data(), multi.point = point.data();
    multi.dilated[0] = near.data(), multi.dilated[1] = far.data(), multi.pool_scale = pool_scale.data();
    multi.bias = bias.data(), multi.relu_before = s.block_joints == 2;
    TapsConvWeights one;
    one.inputs = one.outputs = k.outputs, one.residual_channels = channels, one.stride = s.stride;
    one.weight = taps.data(), one.bias = bias.data();
    if (s.residual > 0) multi.skip = one.skip = skip.data(), multi.skip_bias = skip_bias.data();
    const auto compare_with = [&](const char* name, const auto& op, const auto& w) {
      Case each(name, k, k.outputs, s.stride);
      const Guarded workspace(op.workspace(each.x, 1));
      op.run(each.x, s.residual != 0 ? residual.view() : Activation{}, each.y, workspace.data(), pool(1));
      gpu::DeviceBlocks<T> made(machine);
      made.block(1, 1, 1, false);
      made.temporal(w);
      made.block(channels, k.outputs, s.stride, s.residual != 0);
      time_kernel<T>(machine, each, made.made.back().temporal, residual, s.residual != 0, s.block_frames,
                     s.block_joints);
    };
    compare_with("multi_scale_temporal", MultiScaleTemporal(multi, Isa::scalar), multi);
    compare_with("taps_conv", TapsConv(one, Isa::scalar), one);
  }
}

template <class T>
void test_all(const gpu::Machine& machine) {
  test_graphs<T>(machine);
  test_attention<T>(machine);
  test_time<T>(machine);
}

void test_divisors() {
  bool right = true;
  for (int by = 1; by < 300; ++by) {
    const gpu::Divisor divisor(by);
    for (int n = 0; n < 70000; n += 1 + n / 300)
      right = right && n / divisor == n / by && n % divisor == n % by;
  }
  expect(right, "a division is a multiplication");
}

void test_refusals() {
  const gpu::Machine host(-1);
  gpu::DeviceBlocks<float> made(host);
  const std::vector<float> some(4096, 0.1f);
  GraphConvWeights w;
  w.inputs = w.outputs = 4, w.subsets = 4, w.joints = 5;
  w.graph = w.value = w.value_bias = w.shift = some.data();
  throws([&] { made.spatial(w); }, "up to 3 subsets", "four subsets");
  w.subsets = 3, w.relu = false;
  throws([&] { made.spatial(w); }, "end in a ReLU", "no ReLU");
}

}  // namespace

int main() {
  test_divisors();
  test_refusals();
  const std::string reason = why_not_cuda();
  std::printf("%s\n",
              reason.empty() ? "on the host and on device 0" : ("on the host only: " + reason).c_str());
  for (int device = -1; device < (reason.empty() ? 1 : 0); ++device) {
    const gpu::Machine machine(device);
    test_all<float>(machine);
    test_all<gpu::Half>(machine);
    test_all<gpu::Bfloat16>(machine);
  }
  return summary();
}
