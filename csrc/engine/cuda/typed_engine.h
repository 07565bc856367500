// An engine of one precision: its weights, its streams, and a recording for each size of clips.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "engine/clips.h"
#include "engine/cuda/engine_parts.h"
#include "engine/cuda/program.h"
#include "ski_edge/check.h"

namespace ski_edge {

using cuda::Machine;

constexpr std::size_t kMostRecordings = 8;  // streams of ever new lengths must not fill the memory
constexpr int kMostOfGrid = 65535;          // a grid's third axis

// The calling thread's device while an engine works; the caller's own afterwards.
class OnDevice {
 public:
  explicit OnDevice(const Machine& machine) {
    if (machine.host()) return;
    cuda::expect_success(cudaGetDevice(&before_), "asking for the device");
    if (before_ == machine.device()) return;
    cuda::expect_success(cudaSetDevice(machine.device()), "choosing the device");
    changed_ = true;
  }
  OnDevice(const OnDevice&) = delete;
  ~OnDevice() {
    if (changed_) cudaSetDevice(before_);
  }

 private:
  int before_ = 0;
  bool changed_ = false;
};

// Page-locked memory, which the device copies from and to while the host goes on.
class Pinned {
 public:
  Pinned(const Machine& machine, std::size_t bytes) : host_(machine.host()) {
    if (host_) {
      memory_ = std::calloc(bytes, 1);
    } else {
      cuda::expect_success(cudaMallocHost(&memory_, bytes), "allocating page-locked memory");
    }
  }
  Pinned(const Pinned&) = delete;
  ~Pinned() {
    if (host_) std::free(memory_);
    if (!host_) cudaFreeHost(memory_);
  }
  char* data() const { return static_cast<char*>(memory_); }

 private:
  bool host_;
  void* memory_ = nullptr;
};

// A run of so many clips, present bodies and frames: where its data lie, and the graph that does it.
template <class T>
struct Recording {
  Recording(const Machine& machine, const cuda::DeviceNetwork<T>& network, int clips_, int bodies, int frames)
      : clips(clips_),
        numbers(static_cast<std::size_t>(bodies) *
                static_cast<std::size_t>(frames * network.spec.joints * 3)),
        places(static_cast<std::size_t>(2 * bodies + clips_ * network.spec.persons)),
        results(static_cast<std::size_t>(clips_) *
                static_cast<std::size_t>(network.spec.classes + network.ends.features)),
        program(machine, network, bodies, frames),
        in(machine, std::max<std::size_t>(1, numbers * sizeof(float) + places * sizeof(int))),
        out(machine, results * sizeof(float)),
        device_in(machine.memory(numbers * sizeof(float) + places * sizeof(int))),
        device_out(machine.memory(results * sizeof(float))) {}
  ~Recording() {
    if (graph != nullptr) cudaGraphExecDestroy(graph);
  }

  float* clip_numbers() const { return reinterpret_cast<float*>(in.data()); }
  int* clip_places() const { return reinterpret_cast<int*>(in.data() + numbers * sizeof(float)); }
  std::size_t in_bytes() const { return numbers * sizeof(float) + places * sizeof(int); }

  int clips;
  std::size_t numbers, places, results;
  cuda::Program<T> program;
  Pinned in, out;
  std::shared_ptr<void> device_in, device_out;
  cudaGraphExec_t graph = nullptr;
};

template <class T>
class Typed final : public CudaEngine::Parts {
 public:
  Typed(const std::string& weights, const NetworkSpec& given, int device)
      : machine_(device), network_(machine_, SafeTensors::open(weights), given) {
    spec = given, feature_dim = network_.ends.features;
    machine_.wait();
  }
  ~Typed() override {
    if (machine_.host()) return;
    cudaStreamSynchronize(machine_.stream());
    if (elsewhere_ != nullptr) cudaEventSynchronize(elsewhere_), cudaEventDestroy(elsewhere_);
  }

  void submit(const ClipView& x) override {
    check(pending_ == nullptr, "clips were submitted before; wait for them first");
    check_clips(x, spec);
    const OnDevice here(machine_);
    follow(machine_.stream());
    present_.clear();
    body_of_.assign(static_cast<std::size_t>(x.clips) * static_cast<std::size_t>(spec.persons), -1);
    for (long clip = 0; clip < x.clips; ++clip) {
      for (int slot = 0; slot < spec.persons; ++slot) {
        if (is_empty(x, {clip, slot}) && spec.skip_empty) continue;
        body_of_[static_cast<std::size_t>(clip * spec.persons + slot)] = static_cast<int>(present_.size());
        present_.push_back({clip, slot});
      }
    }
    check(x.clips >= 1 && present_.size() <= kMostOfGrid && x.clips <= kMostOfGrid, "1 to ", kMostOfGrid,
          " bodies and clips fit into one run, got ", present_.size(), " in ", x.clips,
          " clips; give fewer at a time");
    const bool some_empty = present_.size() < body_of_.size();
    if (some_empty) empty_features(static_cast<int>(x.frames));
    Recording<T>& recording = this->recording(static_cast<int>(x.clips), static_cast<int>(present_.size()),
                                              static_cast<int>(x.frames));
    fill(recording, x);
    if (machine_.host()) {
      enqueue(recording);
    } else {
      if (recording.graph == nullptr) record(recording);
      cuda::expect_success(cudaGraphLaunch(recording.graph, machine_.stream()), "replaying a graph");
    }
    pending_ = &recording;
  }

  void wait(float* logits, float* features) override {
    check(pending_ != nullptr, "no clips were submitted");
    const Recording<T>& done = *pending_;
    pending_ = nullptr;
    const OnDevice here(machine_);
    machine_.wait();
    const float* const results = reinterpret_cast<const float*>(done.out.data());
    const std::size_t scores = static_cast<std::size_t>(done.clips) * static_cast<std::size_t>(spec.classes);
    for (std::size_t i = 0; i < scores; ++i) {
      check(std::isfinite(results[i]), "clip ", i / static_cast<std::size_t>(spec.classes),
            " makes the network overflow; are its joints in metres? Precision fp32 or bf16 has more room");
    }
    std::copy_n(results, scores, logits);
    if (features != nullptr) std::copy_n(results + scores, done.results - scores, features);
  }

  void run_on_device(const ClipView& x, float* logits, float* features, cudaStream_t stream) override;

  void time_replays(int times, float* milliseconds) override {
    check(last_ != nullptr && last_->graph != nullptr, "run clips on a device first, then time them");
    const OnDevice here(machine_);
    cudaEvent_t begin, end;
    cuda::expect_success(cudaEventCreate(&begin), "making an event");
    cuda::expect_success(cudaEventCreate(&end), "making an event");
    for (int i = 0; i < times; ++i) {
      cuda::expect_success(cudaEventRecord(begin, machine_.stream()), "recording an event");
      cuda::expect_success(cudaGraphLaunch(last_->graph, machine_.stream()), "replaying a graph");
      cuda::expect_success(cudaEventRecord(end, machine_.stream()), "recording an event");
      cuda::expect_success(cudaEventSynchronize(end), "waiting for an event");
      cuda::expect_success(cudaEventElapsedTime(&milliseconds[i], begin, end), "reading an event");
    }
    cudaEventDestroy(begin), cudaEventDestroy(end);
  }

  std::size_t bytes() const override {
    std::size_t total = 0;
    for (const auto& each : recordings_) total += each.second->program.bytes();
    return total;
  }

 private:
  // Clips, bodies, frames, and whether clips come in the device's memory.
  using Key = std::tuple<int, int, int, bool>;

  // What a caller's stream still does with our buffers, `stream` waits for.
  void follow(cudaStream_t stream) const {
    if (elsewhere_ == nullptr) return;
    cuda::expect_success(cudaStreamWaitEvent(stream, elsewhere_, 0), "waiting for another stream");
  }
  void left_to(cudaStream_t stream) {
    if (elsewhere_ == nullptr) {
      cuda::expect_success(cudaEventCreateWithFlags(&elsewhere_, cudaEventDisableTiming), "making an event");
    }
    cuda::expect_success(cudaEventRecord(elsewhere_, stream), "recording an event");
  }

  void forget_recordings() {
    machine_.wait();
    if (elsewhere_ != nullptr) {
      cuda::expect_success(cudaEventSynchronize(elsewhere_), "waiting for another stream");
    }
    recordings_.clear();
    last_ = nullptr;
  }

  Recording<T>& recording(int clips, int bodies, int frames, bool on_device = false) {
    const Key key{clips, bodies, frames, on_device};
    auto found = recordings_.find(key);
    if (found == recordings_.end()) {
      if (recordings_.size() >= kMostRecordings) forget_recordings();
      auto made = std::make_unique<Recording<T>>(machine_, network_, clips, bodies, frames);
      if (on_device) place_all(*made);
      found = recordings_.emplace(key, std::move(made)).first;
    }
    last_ = found->second.get();
    return *last_;
  }

  // Every slot of every clip is a body of its own.
  void place_all(const Recording<T>& recording) const {
    const int bodies = recording.program.bodies();
    int* place = recording.clip_places();
    for (int i = 0; i < bodies; ++i) *place++ = i / spec.persons, *place++ = i % spec.persons;
    for (int i = 0; i < bodies; ++i) *place++ = i;
    machine_.copy(recording.device_in.get(), recording.in.data(), recording.in_bytes());
    machine_.wait();
  }

  // Gathers present bodies as [body][frame][joint][3].
  void fill(const Recording<T>& to, const ClipView& x) const {
    float* at = to.clip_numbers();
    int* place = to.clip_places();
    for (std::size_t i = 0; i < present_.size(); ++i) {
      const Body& body = present_[i];
      const float* const from = x.data + body.clip * x.clip_step + body.slot * x.person_step;
      for (long t = 0; t < x.frames; ++t)
        for (long v = 0; v < x.joints; ++v)
          for (long c = 0; c < 3; ++c)
            *at++ = from[t * x.frame_step + v * x.joint_step + c * x.coordinate_step];
      *place++ = static_cast<int>(i), *place++ = body.slot;
    }
    std::copy(body_of_.begin(), body_of_.end(), place);
  }

  cuda::Borders borders(const Recording<T>& recording) const {
    cuda::Borders to;
    to.x.data = static_cast<const float*>(recording.device_in.get());
    to.x.clip_step = static_cast<long>(recording.program.frames()) * spec.joints * 3;
    to.x.coordinate_step = 1, to.x.joint_step = 3, to.x.frame_step = spec.joints * 3;
    to.bodies = reinterpret_cast<const int*>(to.x.data + recording.numbers);
    to.body_of = to.bodies + 2 * recording.program.bodies();
    const auto found = empty_.find(recording.program.frames());
    to.empty = found == empty_.end() ? nullptr : found->second.get();
    to.clips = recording.clips;
    to.logits = static_cast<float*>(recording.device_out.get());
    to.features = to.logits + static_cast<long>(recording.clips) * spec.classes;
    return to;
  }

  void enqueue(const Recording<T>& recording) const {
    machine_.copy(recording.device_in.get(), recording.in.data(), recording.in_bytes());
    recording.program.run(borders(recording));
    machine_.copy(recording.out.data(), recording.device_out.get(), recording.results * sizeof(float));
  }

  void record(Recording<T>& recording) const {
    enqueue(recording);  // once as it is: kernels are loaded, and an error names its kernel
    machine_.wait();
    cuda::expect_success(cudaStreamBeginCapture(machine_.stream(), cudaStreamCaptureModeThreadLocal),
                         "recording a graph");
    enqueue(recording);
    cudaGraph_t graph = nullptr;
    cuda::expect_success(cudaStreamEndCapture(machine_.stream(), &graph), "recording a graph");
    const cudaError_t status = cudaGraphInstantiate(&recording.graph, graph, 0);
    cudaGraphDestroy(graph);
    cuda::expect_success(status, "making a graph");
  }

  // Features of empty slots [person][D] at this length, once.
  void empty_features(int frames) {
    if (empty_.count(frames) != 0) return;
    if (empty_.size() >= 64) {  // graphs know the addresses
      forget_recordings();
      empty_.clear();
    }
    const std::size_t dim = static_cast<std::size_t>(feature_dim);
    std::vector<float> features(static_cast<std::size_t>(spec.persons) * dim);
    const std::shared_ptr<float> nothing = machine_.upload(features);
    Recording<T> one(machine_, network_, 1, 1, frames);
    cuda::Borders to = borders(one);
    to.empty = nothing.get();
    for (int slot = 0; slot < spec.persons; ++slot) {
      int* const place = one.clip_places();
      place[0] = 0, place[1] = slot;
      for (int each = 0; each < spec.persons; ++each) place[2 + each] = each == slot ? 0 : -1;
      machine_.copy(one.device_in.get(), one.in.data(), one.in_bytes());
      one.program.run(to);
      machine_.copy(one.out.data(), one.device_out.get(), one.results * sizeof(float));
      machine_.wait();
      const float* const found = reinterpret_cast<const float*>(one.out.data()) + spec.classes;
      for (std::size_t i = 0; i < dim; ++i) {
        features[static_cast<std::size_t>(slot) * dim + i] = found[i] * static_cast<float>(spec.persons);
      }
    }
    empty_.emplace(frames, machine_.upload(features));
  }

  Machine machine_;
  cuda::DeviceNetwork<T> network_;
  std::map<Key, std::unique_ptr<Recording<T>>> recordings_;
  std::map<int, std::shared_ptr<float>> empty_;
  std::vector<Body> present_;
  std::vector<int> body_of_;
  Recording<T>* pending_ = nullptr;
  Recording<T>* last_ = nullptr;
  cudaEvent_t elsewhere_ = nullptr;  // the end of what was last started on a caller's stream
};

// Clips that already are in device memory: kernels read them where they are.
template <class T>
void Typed<T>::run_on_device(const ClipView& x, float* logits, float* features, cudaStream_t stream) {
  check(pending_ == nullptr, "clips were submitted before; wait for them first");
  check_clips(x, spec);
  const long bodies = x.clips * spec.persons;
  check(x.clips >= 1 && bodies <= kMostOfGrid, "1 to ", kMostOfGrid, " bodies fit into one run, got ",
        bodies);
  const OnDevice here(machine_);
  if (!machine_.host()) {
    cudaPointerAttributes where;
    cuda::expect_success(cudaPointerGetAttributes(&where, x.data), "looking up where the clips are");
    check(where.type == cudaMemoryTypeDevice || where.type == cudaMemoryTypeManaged,
          "clips must be in device memory; give those of the host to run()");
    check(where.device == machine_.device(), "clips are on device ", where.device, ", the engine on ",
          machine_.device());
  }
  Recording<T>& one =
      recording(static_cast<int>(x.clips), static_cast<int>(bodies), static_cast<int>(x.frames), true);
  cuda::Borders to = borders(one);
  to.x = x, to.logits = logits;
  if (features != nullptr) to.features = features;
  if (stream == nullptr) stream = cudaStreamLegacy;
  follow(stream);
  one.program.run(to, stream);
  if (!machine_.host()) left_to(stream);
}

}  // namespace ski_edge
