// Makes ops of whatever bytes say and runs them: sizes of zero, below zero and beyond every limit, weights
// that are missing, activations that fit neither the op nor each other. The answer is BadInput or finite
// numbers. With libFuzzer (clang++ -fsanitize=fuzzer,address,undefined), or, compiled with
// -DSKI_EDGE_FUZZ_CORPUS_RUN, as a program that makes the bytes: fuzz_ops [iterations] [seed]
#include <algorithm>
#include <limits>
#include <memory>

#include "reference.h"
#include "ski_edge/limits.h"
#include "ski_edge/ops/ctr_gc.h"
#include "ski_edge/ops/graph_conv.h"
#include "ski_edge/ops/hyperedge_attention.h"
#include "ski_edge/ops/layer_norm.h"
#include "ski_edge/ops/multi_scale_temporal.h"
#include "ski_edge/ops/pool_head.h"
#include "ski_edge/ops/taps_conv.h"

using namespace ski_edge;

namespace {

long runs = 0, refusals = 0;

// Thrown for sizes that an op takes, and that would take this program too long.
struct TooMuch {};
constexpr double kMostFloats = 1 << 16;  // of a tensor or an activation

// What the bytes say; zeros behind their end.
class Bytes {
 public:
  Bytes(const std::uint8_t* at, std::size_t size) : at_(at), end_(at + size) {}

  int byte() { return at_ < end_ ? *at_++ : 0; }
  // Mostly 1 to `most`, else something hostile.
  int size(int most) {
    static const int kHostile[] = {0,
                                   -1,
                                   -16,
                                   std::numeric_limits<int>::min(),
                                   std::numeric_limits<int>::max(),
                                   std::numeric_limits<int>::max() - 15,
                                   1 << 16,
                                   1 << 20,
                                   (1 << 20) + 1,
                                   1 << 30,
                                   17,
                                   256,
                                   257,
                                   4096,
                                   4097,
                                   100'001};
    const int first = byte();
    return first < 250 ? 1 + first % most : kHostile[byte() % 16];
  }
  bool rarely() { return byte() >= 250; }
  // The value, or rarely another.
  int or_other(int value) { return rarely() ? size(9) : value; }
  float number() { return static_cast<float>(byte() - 128) / 64; }

  // A tensor of exactly so many numbers: the sanitizers see one that is read beyond them. Sizes that no op
  // takes get one number, which must not be read; rarely there is none at all.
  const float* tensor(std::initializer_list<int> shape) {
    if (rarely()) return nullptr;
    tensors_.push_back(std::make_unique<std::vector<float>>(count(shape)));
    for (float& x : *tensors_.back()) x = number();
    return tensors_.back()->data();
  }
  const int* indices(std::initializer_list<int> shape, int below) {
    if (rarely()) return nullptr;
    indices_.push_back(std::make_unique<std::vector<int>>(count(shape)));
    for (int& i : *indices_.back()) i = rarely() ? size(9) : byte() % std::max(below, 1);
    return indices_.back()->data();
  }

 private:
  static std::size_t count(std::initializer_list<int> shape) {
    double floats = 1;
    for (const int axis : shape) {
      if (axis < 1 || axis > kMostClasses) return 1;
      floats *= axis;
    }
    if (floats > kMostFloats) throw TooMuch();
    return static_cast<std::size_t>(floats);
  }

  const std::uint8_t *at_, *end_;
  std::vector<std::unique_ptr<std::vector<float>>> tensors_;
  std::vector<std::unique_ptr<std::vector<int>>> indices_;
};

// Memory of an activation: as much as it claims, where that is possible at all.
struct Given {
  Activation view;
  Guarded memory{0};

  Given(Bytes& bytes, Activation shape, bool numbers) : view(shape) {
    const bool possible = shape.bodies >= 1 && shape.bodies <= kMostBodies && shape.channels >= 1 &&
                          shape.channels <= kMostChannels && shape.joints >= 1 &&
                          shape.joints <= kMostJoints && shape.frames >= 1 && shape.frames <= kMostFrames;
    if (possible && static_cast<double>(shape.floats()) > kMostFloats) throw TooMuch();
    const std::size_t floats = possible ? shape.floats() : 16;
    memory = Guarded(floats);
    if (numbers) std::generate_n(memory.data(), floats, [&] { return bytes.number(); });
    view.data = bytes.rarely() ? nullptr : memory.data();
  }
};

Activation shape_of(Bytes& bytes, int channels, int joints, int frames, bool split) {
  Activation x;
  x.bodies = 1 + bytes.byte() % 3, x.channels = bytes.or_other(channels);
  x.joints = bytes.or_other(joints), x.frames = bytes.or_other(frames);
  x.split = split != bytes.rarely();
  if (bytes.rarely()) x.bodies = bytes.size(9);
  return x;
}

void expect_finite(const float* x, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(x[i])) std::abort();
  }
}

void expect_finite(const Activation& y) {
  for (int n = 0; n < y.bodies; ++n)
    for (int row = 0; row < y.channels * y.joints; ++row)
      for (int part = 0; part < y.parts(); ++part)
        expect_finite(y.body(n) + row * y.joint_step() + part * y.part_step(),
                      static_cast<std::size_t>(y.part_frames(part)));
}

template <class Op>
Guarded workspace_of(const Op& op, const Activation& x, int threads) {
  const std::size_t floats = op.workspace(x, threads);
  if (floats > std::size_t{1} << 24) throw TooMuch();
  return Guarded(floats);
}

// x and y, and whatever run(x, y, workspace, threads) takes besides.
template <class Op, class Run>
void run_op(Bytes& bytes, const Op& op, int inputs, int outputs, int joints, int stride, const Run& run) {
  const int frames = bytes.size(40), threads = 1 + bytes.byte() % 2;
  const Activation from = shape_of(bytes, inputs, joints, frames, stride == 2);
  Activation to = from;
  to.channels = outputs;
  if (stride > 1) to.frames = frames / 2 + frames % 2, to.split = bytes.byte() % 2 == 0;
  if (bytes.rarely()) to = shape_of(bytes, outputs, joints, to.frames, to.split);
  const Given x(bytes, from, true), y(bytes, to, false);
  const Guarded workspace = workspace_of(op, x.view, threads);
  run(x.view, y.view, workspace.data(), pool(threads));
  if (!workspace.intact() || !x.memory.intact() || !y.memory.intact()) std::abort();
  expect_finite(y.view);
  ++runs;
}

template <class Op>
void run_graph_op(Bytes& bytes, const Op& op, int inputs, int outputs, int joints) {
  run_op(bytes, op, inputs, outputs, joints, 1,
         [&](const Activation& x, const Activation& y, float* workspace, ThreadPool& threads) {
           op.run(x, y, workspace, threads);
         });
}

template <class Op>
void run_time_op(Bytes& bytes, const Op& op, int inputs, int outputs, int residual_channels, int stride) {
  run_op(bytes, op, inputs, outputs, bytes.size(20), stride,
         [&](const Activation& x, const Activation& y, float* workspace, ThreadPool& threads) {
           Activation shape = x;
           shape.channels = residual_channels;
           if (bytes.rarely()) shape = shape_of(bytes, residual_channels, x.joints, x.frames, x.split);
           const Given residual(bytes, shape, true);
           op.run(x, bytes.byte() % 2 == 0 ? Activation{} : residual.view, y, workspace, threads);
           if (!residual.memory.intact()) std::abort();
         });
}

void ctr_gc(Bytes& b, Isa isa) {
  CtrGcWeights w;
  w.inputs = b.size(12), w.outputs = b.byte() % 2 == 0 ? w.inputs : b.size(12), w.subsets = b.size(4);
  w.relations = b.size(5), w.joints = b.size(20);
  w.relation = b.tensor({2, w.subsets, w.relations, w.inputs});
  w.relation_bias = b.tensor({2, w.subsets, w.relations});
  w.expand = b.tensor({w.subsets, w.outputs, w.relations}), w.expand_bias = b.tensor({w.subsets, w.outputs});
  w.adjacency = b.tensor({w.subsets, w.joints, w.joints});
  w.value = b.tensor({w.subsets, w.outputs, w.inputs}), w.value_bias = b.tensor({w.subsets, w.outputs});
  w.shift = b.tensor({w.outputs});
  if (w.inputs != w.outputs) w.shortcut = b.tensor({w.outputs, w.inputs});
  run_graph_op(b, CtrGc(w, isa), w.inputs, w.outputs, w.joints);
}

void graph_conv(Bytes& b, Isa isa) {
  GraphConvWeights w;
  w.inputs = b.size(12), w.outputs = b.byte() % 2 == 0 ? w.inputs : b.size(12), w.subsets = b.size(4);
  w.joints = b.size(20), w.relu = b.byte() % 2 == 0;
  w.graph = b.tensor({w.subsets, w.joints, w.joints});
  w.value = b.tensor({w.subsets, w.outputs, w.inputs}), w.value_bias = b.tensor({w.subsets, w.outputs});
  w.shift = b.tensor({w.outputs});
  w.shortcut = static_cast<Shortcut>(b.byte() % 3);
  if (w.shortcut == Shortcut::convolution) w.shortcut_weight = b.tensor({w.outputs, w.inputs});
  run_graph_op(b, GraphConv(w, isa), w.inputs, w.outputs, w.joints);
}

void hyperedge_attention(Bytes& b, Isa isa) {
  HyperedgeAttentionWeights w;
  const int heads = b.size(3), each = 1 + b.byte() % 4;
  w.heads = heads, w.outputs = heads > 0 && heads < 64 ? b.or_other(heads * each) : b.size(12);
  w.inputs = b.byte() % 2 == 0 ? w.outputs : b.size(12), w.joints = b.size(12), w.groups = b.size(2);
  w.hops = b.size(3), w.project_groups = b.byte() % 2 == 0 ? 1 : b.or_other(heads), w.gain = b.number();
  w.qkv = b.tensor({3, w.outputs, w.inputs}), w.qkv_bias = b.tensor({3, w.outputs});
  w.group_features = b.tensor({w.outputs, w.inputs}), w.hop_features = b.tensor({w.hops, w.outputs});
  w.group_weight = b.tensor({w.outputs}), w.attention_bias = b.tensor({w.heads, w.joints, w.joints});
  w.project = b.tensor({w.outputs, w.outputs}), w.project_bias = b.tensor({w.outputs});
  if (w.inputs != w.outputs) w.shortcut = b.tensor({w.outputs, w.inputs});
  w.group_of = b.indices({w.joints}, w.groups), w.hop_of = b.indices({w.joints, w.joints}, w.hops);
  run_graph_op(b, HyperedgeAttention(w, isa), w.inputs, w.outputs, w.joints);
}

void layer_norm(Bytes& b, Isa isa) {
  LayerNormWeights w;
  w.channels = b.size(40), w.weight = b.tensor({w.channels}), w.bias = b.tensor({w.channels});
  run_graph_op(b, LayerNorm(w, isa), w.channels, w.channels, b.size(40));
}

void multi_scale_temporal(Bytes& b, Isa isa) {
  MultiScaleTemporalWeights w;
  const int width = b.size(6);
  w.channels = width > 0 && width < 64 ? b.or_other(4 * width) : width;
  w.residual_channels = b.size(12), w.stride = b.size(2), w.taps = b.or_other(1 + b.byte() % 3 * 2);
  w.relu_before = b.byte() % 2 == 0;
  w.reduce = b.tensor({3, width, w.channels}), w.reduce_bias = b.tensor({3, width});
  for (const float*& dilated : w.dilated) dilated = b.tensor({width, width, w.taps});
  w.point = b.tensor({width, w.channels}), w.pool_scale = b.tensor({width}), w.bias = b.tensor({4, width});
  if (b.byte() % 2 == 0) {
    w.skip = b.tensor({w.channels, w.residual_channels}), w.skip_bias = b.tensor({w.channels});
  }
  if (w.channels >= 4 && w.channels / 4 != width) throw TooMuch();  // tensors of other sizes than it was told
  const MultiScaleTemporal op(w, isa);
  run_time_op(b, op, w.channels, w.channels, w.skip != nullptr ? w.residual_channels : w.channels, w.stride);
}

void taps_conv(Bytes& b, Isa isa) {
  TapsConvWeights w;
  w.inputs = b.size(12), w.outputs = b.size(12), w.residual_channels = b.size(12);
  w.stride = b.size(2), w.taps = b.or_other(1 + b.byte() % 5 * 2);
  w.weight = b.tensor({w.outputs, w.inputs, w.taps}), w.bias = b.tensor({w.outputs});
  if (b.byte() % 2 == 0) w.skip = b.tensor({w.outputs, w.residual_channels});
  const TapsConv op(w, isa);
  run_time_op(b, op, w.inputs, w.outputs, w.skip != nullptr ? w.residual_channels : w.outputs, w.stride);
}

void pool_head(Bytes& b, Isa isa) {
  PoolHeadWeights w;
  w.channels = b.size(20), w.classes = b.size(9), w.persons = b.size(2);
  w.weight = b.tensor({w.classes, w.channels}), w.bias = b.tensor({w.classes});
  const PoolHead op(w, isa);
  Activation shape = shape_of(b, w.channels, b.size(20), b.size(40), b.byte() % 2 == 0);
  if (w.persons == 2 && shape.bodies == 1 && !b.rarely()) shape.bodies = 2;
  const Given x(b, shape, true);
  const Guarded workspace = workspace_of(op, x.view, 1);
  const auto clips = static_cast<std::size_t>(x.view.bodies);  // or fewer
  const Guarded logits(clips * static_cast<std::size_t>(w.classes)),
      features(clips * static_cast<std::size_t>(w.channels));
  op.run(x.view, logits.data(), features.data(), workspace.data(), pool(1));
  if (!workspace.intact() || !logits.intact() || !features.intact()) std::abort();
  const std::size_t count = clips / static_cast<std::size_t>(w.persons);
  expect_finite(logits.data(), count * static_cast<std::size_t>(w.classes));
  expect_finite(features.data(), count * static_cast<std::size_t>(w.channels));
  ++runs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const auto kIsas = isas();
  static void (*const kOps[])(Bytes&, Isa) = {
      ctr_gc, graph_conv, hyperedge_attention, layer_norm, multi_scale_temporal, pool_head, taps_conv};
  Bytes from(bytes, size);
  const Isa isa = kIsas[static_cast<std::size_t>(from.byte()) % kIsas.size()];
  try {
    kOps[from.byte() % 7](from, isa);
  } catch (const BadInput& error) {
    ++refusals;
    for (const char* at = error.what(); *at; ++at)
      if (static_cast<unsigned char>(*at) < 0x20) std::abort();
  } catch (const TooMuch&) {
  }
  return 0;
}

#ifdef SKI_EDGE_FUZZ_CORPUS_RUN
int main(int count, char** arguments) {
  const long iterations = count > 1 ? std::atol(arguments[1]) : 100000;
  std::mt19937 random(count > 2 ? static_cast<unsigned>(std::atol(arguments[2])) : 1u);
  std::vector<std::uint8_t> bytes(8192);
  for (long i = 0; i < iterations; ++i) {
    // Most tensors read zeros in the end; hostile bytes come as rarely as they should, or not at all.
    const std::size_t size = 16 + random() % (bytes.size() - 16);
    for (std::size_t k = 0; k < size; ++k)
      bytes[k] = static_cast<std::uint8_t>(random() % (i % 2 ? 256 : 250));
    LLVMFuzzerTestOneInput(bytes.data(), size);
  }
  std::printf("of %ld ops %ld ran, %ld were refused\n", iterations, runs, refusals);
  return runs > iterations / 20 && refusals > iterations / 20 ? 0 : 1;
}
#endif
