#include "ski_edge/stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/network.h"
#include "engine/spec.h"
#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {

namespace {

// The last `count` frames of something.
struct Ring {
  std::vector<FrameActivation> frames;
  long seen = 0;

  FrameActivation& next() {
    return frames[static_cast<std::size_t>(seen++ % static_cast<long>(frames.size()))];
  }
  // The frame that came `back` frames before the newest.
  const FrameActivation& ago(long back) const {
    return frames[static_cast<std::size_t>((seen - 1 - back) % static_cast<long>(frames.size()))];
  }
};

struct BlockState {
  Ring inputs;  // as far back as the residual looks
  Ring mixed;   // outputs of the graph convolution: what the temporal convolution reads
};

}  // namespace

std::string why_not_stream(const std::string& model) {
  if (model == "stgcn") return "";
  if (model == "ctrgcn") {
    return "ctrgcn's graphs depend on the mean over the whole window, so each new frame changes what all "
           "frames of it "
           "become: nothing after the first layer can be kept; run it on windows";
  }
  return model + " does not run frame by frame; the native engine streams stgcn";
}

struct Stream::Parts {
  NetworkSpec spec;
  Network network;
  ThreadPool pool;
  Isa isa;
  int window;
  Floats memory;
  float* workspace = nullptr;
  std::vector<BlockState> blocks;
  FrameActivation last;         // output of the trunk
  std::vector<float> pooled;    // [frames of the mean][M][D]: of each frame, averaged over joints
  std::vector<double> sum;      // [D]: of all of those
  std::vector<float> features;  // [D]
  long outputs = 0;             // of the trunk, so far

  Parts(const std::string& weights, const NetworkSpec& given, int frames, const EngineOptions& options)
      : spec(checked(given)),
        network(read(weights, given, options.isa)),
        pool(options.threads),
        isa(options.isa),
        window(frames) {
    const int field = receptive_field();
    check(window >= field && window <= kMostFrames, "a window must have ", field,
          " (what one output sees) to ", kMostFrames, " frames, got ", window);
    std::size_t total = 0, work = 0;
    for (const bool measure : {true, false}) {  // sizes first, then addresses
      float* at = measure ? nullptr : memory.data();
      const auto take = [&](int channels) {
        FrameActivation x{at, spec.persons, channels, spec.joints};
        if (measure) total += x.floats();
        if (!measure) at += x.floats();
        return x;
      };
      blocks.assign(network.blocks.size(), {});
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        const Block& block = network.blocks[i];
        const int taps = std::get<TapsConv>(block.temporal).taps();
        for (int k = 0; k < taps / 2 + 1; ++k) blocks[i].inputs.frames.push_back(take(block.inputs));
        for (int k = 0; k < taps; ++k) blocks[i].mixed.frames.push_back(take(block.outputs));
        work = std::max(work, std::get<GraphConv>(block.spatial).step_workspace(spec.joints, pool.threads()));
      }
      last = take(network.features);
      if (measure) memory = Floats(total + work);
      workspace = at;
    }
    const auto dim = static_cast<std::size_t>(spec.persons) * static_cast<std::size_t>(network.features);
    pooled.resize(dim * static_cast<std::size_t>(mean_frames()));
    sum.resize(static_cast<std::size_t>(network.features));
    features.resize(static_cast<std::size_t>(network.features));
  }

  static Network read(const std::string& weights, const NetworkSpec& spec, Isa isa) {
    const std::string reason = why_not_stream(spec.model);
    check(reason.empty(), reason);
    check(isa != Isa::avx512_bf16 && isa != Isa::neon_bf16, "a stream computes in float32, not on ",
          name(isa));
    return read_network(SafeTensors::open(weights), spec, isa);
  }

  int receptive_field() const {
    int field = 1;
    for (const Block& block : network.blocks) field += std::get<TapsConv>(block.temporal).taps() - 1;
    return field;
  }

  // Outputs of the trunk in a window.
  int mean_frames() const { return window - receptive_field() + 1; }

  void normalise_frame(const ClipView& frame, const FrameActivation& x) const {
    const int row = x.row();
    for (int body = 0; body < x.bodies; ++body) {
      for (int c = 0; c < 3; ++c) {
        float* to = x.data + (body * 3 + c) * row;
        for (int v = 0; v < x.joints; ++v) {
          const auto table = static_cast<std::size_t>((body * x.joints + v) * 3 + c);
          to[v] = frame.data[body * frame.person_step + c * frame.coordinate_step + v * frame.joint_step] *
                      network.scale[table] +
                  network.shift[table];
        }
      }
    }
  }

  // Pushes one frame through; false where a block has not seen enough for an output.
  bool trunk(const ClipView& frame) {
    normalise_frame(frame, blocks[0].inputs.next());
    FrameActivation taps[9];
    const FrameActivation none;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const Block& block = network.blocks[i];
      const auto& temporal = std::get<TapsConv>(block.temporal);
      BlockState& state = blocks[i];
      std::get<GraphConv>(block.spatial).step(state.inputs.ago(0), state.mixed.next(), workspace, pool);
      const int count = temporal.taps();
      if (state.mixed.seen < count) return false;
      for (int k = 0; k < count; ++k) taps[k] = state.mixed.ago(count - 1 - k);
      const FrameActivation& out = i + 1 < blocks.size() ? blocks[i + 1].inputs.next() : last;
      temporal.step(taps, block.residual ? state.inputs.ago(count / 2) : none, out, pool);
    }
    return true;
  }
};

Stream::Stream(const std::string& weights, const NetworkSpec& spec, int window, const EngineOptions& options)
    : parts_(std::make_unique<Parts>(weights, spec, window, options)) {}
Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;

bool Stream::step(const ClipView& frame, float* logits, float* features) {
  Parts& p = *parts_;
  check(frame.clips == 1 && frame.frames == 1 && frame.joints == p.spec.joints &&
            frame.persons == p.spec.persons,
        "a stream takes one frame, [1, 3, 1, ", p.spec.joints, ", ", p.spec.persons, "], got [", frame.clips,
        ", 3, ", frame.frames, ", ", frame.joints, ", ", frame.persons, "]");
  for (int slot = 0; slot < p.spec.persons; ++slot) {
    for (int c = 0; c < 3; ++c) {
      for (int v = 0; v < p.spec.joints; ++v) {
        const float value =
            frame.data[slot * frame.person_step + c * frame.coordinate_step + v * frame.joint_step];
        check(std::isfinite(value), "body ", slot,
              " of the frame holds NaN or infinity; give finite numbers");
      }
    }
  }
  if (!p.trunk(frame)) return false;

  const int dim = p.network.features, row = p.last.row(), frames = p.mean_frames();
  float* newest = p.pooled.data() + static_cast<std::size_t>(p.outputs % frames) *
                                        static_cast<std::size_t>(p.spec.persons * dim);
  for (int i = 0; i < p.spec.persons * dim; ++i) {
    double mean = 0;
    for (int v = 0; v < p.spec.joints; ++v) mean += p.last.data[i * row + v];
    newest[i] = static_cast<float>(mean / p.spec.joints);
  }
  ++p.outputs;
  if (p.outputs < frames) return false;

  // Summed anew each time: a running sum would keep what one wild frame did to it. The order of the ring does
  // not matter.
  std::fill(p.sum.begin(), p.sum.end(), 0.0);
  for (std::size_t first = 0; first < p.pooled.size(); first += p.sum.size()) {
    for (std::size_t i = 0; i < p.sum.size(); ++i) p.sum[i] += p.pooled[first + i];
  }
  const double share = 1 / (static_cast<double>(frames) * p.spec.persons);
  for (std::size_t i = 0; i < p.sum.size(); ++i) p.features[i] = static_cast<float>(p.sum[i] * share);
  for (int k = 0; k < p.spec.classes; ++k) {
    const float* weights =
        p.network.head.data() + static_cast<std::size_t>(k) * static_cast<std::size_t>(dim);
    float total = 0;
    for (int i = 0; i < dim; ++i) total += weights[i] * p.features[static_cast<std::size_t>(i)];
    logits[k] = total + p.network.head_bias[static_cast<std::size_t>(k)];
    check(std::isfinite(logits[k]), "the window makes the network overflow; are its joints in metres?");
  }
  if (features != nullptr) std::memcpy(features, p.features.data(), p.features.size() * sizeof(float));
  return true;
}

void Stream::reset() {
  for (BlockState& block : parts_->blocks) block.inputs.seen = block.mixed.seen = 0;
  parts_->outputs = 0;
}

int Stream::window() const { return parts_->window; }
int Stream::receptive_field() const { return parts_->receptive_field(); }
int Stream::classes() const { return parts_->spec.classes; }
int Stream::feature_dim() const { return parts_->network.features; }

}  // namespace ski_edge
