#include "ski_edge/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>

#include "engine/clips.h"
#include "engine/network.h"
#include "engine/spec.h"
#include "ski_edge/check.h"
#include "ski_edge/limits.h"
#include "ski_edge/ops/pool_head.h"

namespace ski_edge {

namespace {

template <class Op, class Call>
auto visit(Op& op, const Call& call) {
  return std::visit(call, op);
}

// Adds the time since its last lap to the next of some sums; without sums it does not even read the clock.
class Stopwatch {
 public:
  explicit Stopwatch(std::vector<double>* sums) : sums_(sums) {
    if (sums_ != nullptr) last_ = Clock::now();
  }
  void lap() {
    if (sums_ == nullptr) return;
    const Clock::time_point now = Clock::now();
    (*sums_)[next_++] += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<double>* sums_;
  std::size_t next_ = 0;
  Clock::time_point last_;
};

// Activations of one size of input; buffers are shared by all blocks.
struct Plan {
  struct Step {
    Activation x, y, z;  // block input, after the spatial part, block output
  };
  Floats memory;
  float* workspace = nullptr;
  std::vector<Step> steps;
};

}  // namespace

struct Engine::Parts {
  NetworkSpec spec;
  Network network;
  ThreadPool pool;
  Isa isa;
  std::map<std::pair<int, int>, Plan> plans;  // by (bodies, frames)
  std::map<int, std::vector<float>> empty;    // by frames: features of empty slots, [M, D]
  struct Slot {
    long clip;
    int slot;
    bool present;
  };
  std::vector<Slot> waiting;  // slots whose features come next, in order
  std::vector<Body> bodies;   // those that have to be computed
  std::vector<float> found;   // their features
  std::vector<float> sum;     // of the slots of one clip

  Parts(const std::string& weights, const NetworkSpec& given, const EngineOptions& options)
      : spec(checked(given)),
        network(read_network(SafeTensors::open(weights), given, options.isa)),
        pool(options.threads),
        isa(options.isa) {}

  // Bodies that go through the network together: enough to share among the threads, few enough for the
  // caches.
  int batch() const { return std::max(2, pool.threads()); }

  Plan& plan(int bodies_count, int frames) {
    const auto key = std::make_pair(bodies_count, frames);
    if (const auto found = plans.find(key); found != plans.end()) return found->second;
    if (plans.size() >= 8) plans.clear();  // streams of ever new lengths must not fill the memory
    Plan plan;
    Activation x;
    x.bodies = bodies_count, x.channels = 3, x.joints = spec.joints, x.frames = frames;
    std::size_t largest = 0, workspace = 0;
    for (std::size_t i = 0; i < network.blocks.size(); ++i) {
      const Block& block = network.blocks[i];
      x.split = block.stride == 2;
      Plan::Step step{x, x, x};
      step.y.channels = step.z.channels = block.outputs;
      step.z.frames = (x.frames + block.stride - 1) / block.stride;
      step.z.split = i + 1 < network.blocks.size() && network.blocks[i + 1].stride == 2;
      for (const Activation* each : {&step.x, &step.y, &step.z}) largest = std::max(largest, each->floats());
      const int threads = pool.threads();
      workspace = std::max(
          {workspace, visit(block.spatial, [&](const auto& op) { return op.workspace(step.x, threads); }),
           visit(block.temporal, [&](const auto& op) { return op.workspace(step.y, threads); })});
      x = step.z;
      plan.steps.push_back(step);
    }
    largest = (largest + 15) / 16 * 16;
    try {
      plan.memory = Floats(3 * largest + workspace);
    } catch (const std::bad_alloc&) {
      refuse(bodies_count, " bodies of ", frames, " frames at once need ", (3 * largest + workspace) / 262144,
             " MB, which this machine does not give; cut the clip");
    }
    float* buffers[3] = {plan.memory.data(), plan.memory.data() + largest, plan.memory.data() + 2 * largest};
    plan.workspace = plan.memory.data() + 3 * largest;
    for (Plan::Step& step : plan.steps) {
      step.x.data = buffers[0], step.y.data = buffers[1], step.z.data = buffers[2];
      std::swap(buffers[0], buffers[2]);  // the output is the next block's input
    }
    return plans.emplace(key, std::move(plan)).first->second;
  }

  // Features of some bodies of x: [count, D].
  void trunk(const ClipView& x, const Body* some, int count, float* out, std::vector<double>* seconds) {
    Plan& plan = this->plan(count, static_cast<int>(x.frames));
    Stopwatch watch(seconds);
    normalise(x, some, network.scale.data(), network.shift.data(), plan.steps[0].x, isa, pool);
    watch.lap();
    const Activation none;
    for (std::size_t i = 0; i < network.blocks.size(); ++i) {
      const Block& block = network.blocks[i];
      const Plan::Step& step = plan.steps[i];
      visit(block.spatial, [&](const auto& op) { op.run(step.x, step.y, plan.workspace, pool); });
      watch.lap();
      const Activation& residual = block.residual ? step.x : none;
      visit(block.temporal, [&](const auto& op) { op.run(step.y, residual, step.z, plan.workspace, pool); });
      watch.lap();
    }
    pool_features(plan.steps.back().z, out, isa, pool);
    watch.lap();
  }

  void flush(const ClipView& x, float* logits, float* features, std::vector<double>* seconds);
  void finish(long clip, float* logits, float* features);

  const std::vector<float>& empty_features(int frames) {
    if (const auto found = empty.find(frames); found != empty.end()) return found->second;
    if (empty.size() >= 64) empty.clear();
    std::vector<float> features(static_cast<std::size_t>(spec.persons * network.features));
    const std::vector<float> nothing(static_cast<std::size_t>(frames * spec.joints * 3), 0.0f);
    ClipView x;
    x.data = nothing.data();
    x.clips = 1, x.frames = frames, x.joints = spec.joints, x.persons = spec.persons;
    x.coordinate_step = static_cast<long>(frames) * spec.joints, x.frame_step = spec.joints, x.joint_step = 1;
    for (int slot = 0; slot < spec.persons;
         ++slot) {  // all slots read the same zeros, each with its own statistics
      const Body body{0, slot};
      trunk(x, &body, 1, features.data() + slot * network.features, nullptr);
    }
    return empty.emplace(frames, std::move(features)).first->second;
  }
};

Engine::Engine(const std::string& weights, const NetworkSpec& spec, const EngineOptions& options)
    : parts_(std::make_unique<Parts>(weights, spec, options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;

// Computes the waiting slots and adds them up; clips whose last slot is among them are finished.
void Engine::Parts::flush(const ClipView& x, float* logits, float* features, std::vector<double>* seconds) {
  const auto dim = static_cast<std::size_t>(network.features);
  bodies.clear();
  for (const Slot& each : waiting) {
    if (each.present) bodies.push_back({each.clip, each.slot});
  }
  found.resize(dim * bodies.size());
  if (!bodies.empty()) trunk(x, bodies.data(), static_cast<int>(bodies.size()), found.data(), seconds);
  const float* next = found.data();
  for (const Slot& each : waiting) {
    const float* from = next;
    if (each.present) {
      next += dim;
    } else {
      from = empty_features(static_cast<int>(x.frames)).data() + static_cast<std::size_t>(each.slot) * dim;
    }
    for (std::size_t i = 0; i < dim; ++i) sum[i] += from[i];
    if (each.slot + 1 < spec.persons) continue;
    finish(each.clip, logits, features);
    std::fill(sum.begin(), sum.end(), 0.0f);
  }
  waiting.clear();
}

// The head on one clip's summed features.
void Engine::Parts::finish(long clip, float* logits, float* features) {
  const std::size_t dim = sum.size(), row = static_cast<std::size_t>(clip);
  for (float& each : sum) each /= static_cast<float>(spec.persons);
  for (int k = 0; k < spec.classes; ++k) {
    const float* weights = network.head.data() + static_cast<std::size_t>(k) * dim;
    float total = network.head_bias[static_cast<std::size_t>(k)];
    for (std::size_t i = 0; i < dim; ++i) total += weights[i] * sum[i];
    check(std::isfinite(total), "clip ", clip, " makes the network overflow; are its joints in metres?");
    logits[row * static_cast<std::size_t>(spec.classes) + static_cast<std::size_t>(k)] = total;
  }
  if (features != nullptr) std::memcpy(features + row * dim, sum.data(), dim * sizeof(float));
}

void Engine::run(const ClipView& x, float* logits, float* features, std::vector<double>* seconds) {
  Parts& p = *parts_;
  check_clips(x, p.spec);
  if (seconds != nullptr) seconds->assign(2 * p.network.blocks.size() + 2, 0.0);
  p.sum.assign(static_cast<std::size_t>(p.network.features), 0.0f);
  p.waiting.clear();
  // Bodies of several clips go through the network together.
  int present = 0;
  for (long clip = 0; clip < x.clips; ++clip) {
    for (int slot = 0; slot < p.spec.persons; ++slot) {
      const bool empty = is_empty(x, {clip, slot}) && p.spec.skip_empty;
      p.waiting.push_back({clip, slot, !empty});
      present += !empty;
      if (present < p.batch()) continue;
      p.flush(x, logits, features, seconds);
      present = 0;
    }
  }
  p.flush(x, logits, features, seconds);
}

int Engine::classes() const { return parts_->spec.classes; }
int Engine::feature_dim() const { return parts_->network.features; }
int Engine::joints() const { return parts_->spec.joints; }
int Engine::persons() const { return parts_->spec.persons; }
int Engine::threads() const { return parts_->pool.threads(); }
Isa Engine::isa() const { return parts_->isa; }

}  // namespace ski_edge
