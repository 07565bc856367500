// Whole skeleton networks on the CPU: a clip in, logits out. No Python, no torch, no other library.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "ski_edge/isa.h"
#include "ski_edge/ops/edges.h"

namespace ski_edge {

// What the weights alone do not tell; a bundle's manifest says it (`native`).
struct NetworkSpec {
  std::string model;    // ctrgcn, ctrsgcn, stgcn, hyperformer
  std::string variant;  // original, pyskl (ctrgcn), continual (stgcn)
  int joints = 0, persons = 0, classes = 0;
  bool skip_empty = false;            // a slot without a person holds zeros, so its feature is a constant
  std::vector<int> group_of, hop_of;  // hyperformer: group of each joint [V], bones between joints [V * V]
};

struct EngineOptions {
  int threads = 0;  // 0: one per CPU this process may use
  Isa isa = best_isa();
};

// Has threads of its own, which a fork() does not copy: make engines in the process that runs them (another
// one is refused).
class Engine {
 public:
  // Reads and folds a safetensors file. Throws BadInput.
  Engine(const std::string& weights, const NetworkSpec& spec, const EngineOptions& options = {});
  ~Engine();
  Engine(Engine&&) noexcept;

  // x: preprocessed clips, any number, any T. logits: [N, classes]; features: [N, feature_dim], averaged over
  // slots, or null. One caller at a time. Throws BadInput for a clip of other joints or persons.
  // seconds: null, or gets the time of each step: input norm, spatial and temporal part of each block,
  // pooling.
  void run(const ClipView& x, float* logits, float* features, std::vector<double>* seconds = nullptr);

  int classes() const;
  int feature_dim() const;
  int joints() const;
  int persons() const;
  int threads() const;
  Isa isa() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// Empty when the engine runs this model, else one line that says why not.
std::string why_not_engine(const std::string& model);

}  // namespace ski_edge
