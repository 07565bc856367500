// What the tests of ops share: memory that notices, activations among NaN, and comparison with a truth in
// double precision.
//
// Tolerance. A sum of K rounded products is off by how its partial sums round: eps / 2 * sqrt(K / 2) relative
// to a typical sum. K is at most 576 here (64 channels, 9 taps) and eps / 2 is 6e-8: 1e-6 of a typical sum,
// some 3e-7 of the largest one, and the worst of thousands of outputs is four times that. 2e-6 leaves room
// for two such sums in a row and none for a forgotten term, whose share is over 1e-3. Where products take
// bfloat16, what counts is the rounding of their factors: 2^-9 * sqrt(2 / 3) each way, 2e-3 of a typical sum
// whatever its length, and three products follow each other in CTR-GC. Data are scaled so that results are of
// order one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "checks.h"
#include "ski_edge/activation.h"
#include "ski_edge/isa.h"
#include "ski_edge/thread_pool.h"

using ski_edge::Activation;

struct Tolerance {
  double full = 2e-6, bfloat16 = 1e-2;
  double of(ski_edge::Isa isa) const { return isa == ski_edge::bf16_isa() ? bfloat16 : full; }
};

// Floats of exactly one size, all NaN. Behind them lies a canary; where AddressSanitizer watches, nothing
// does, so that it sees the first float too many, read or written.
class Guarded {
 public:
  explicit Guarded(std::size_t count) : count_(count) {
    const std::size_t bytes = ((count_ + kCanary) * sizeof(float) + 63) / 64 * 64;
    memory_.reset(static_cast<float*>(std::aligned_alloc(64, std::max<std::size_t>(bytes, 64))));
    std::fill_n(memory_.get(), count_, std::numeric_limits<float>::quiet_NaN());
    for (std::size_t i = 0; i < kCanary; ++i) std::memcpy(memory_.get() + count_ + i, &kBird, sizeof kBird);
  }
  float* data() const { return memory_.get(); }
  bool intact() const {
    for (std::size_t i = 0; i < kCanary; ++i) {
      if (std::memcmp(memory_.get() + count_ + i, &kBird, sizeof kBird) != 0) return false;
    }
    return true;
  }

 private:
#ifdef __SANITIZE_ADDRESS__
  static constexpr std::size_t kCanary = 0;
#else
  static constexpr std::size_t kCanary = 1024;
#endif
  static constexpr std::uint32_t kBird = 0x7fc0dead;  // a NaN: whoever computes with it is seen as well
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::size_t count_;
  std::unique_ptr<float, Free> memory_;
};

// Numbers of [low, high], the same ones on every machine.
inline std::vector<float> noise(std::size_t count, double low, double high, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> out(count);
  for (float& x : out) x = static_cast<float>(low + (high - low) * (random() / 4294967296.0));
  return out;
}
// Weights of sums over `depth`: the sums are of order one.
inline std::vector<float> weights(int rows, int depth, unsigned seed) {
  const double scale = std::sqrt(3.0 / depth);
  return noise(static_cast<std::size_t>(rows) * static_cast<std::size_t>(depth), -scale, scale, seed);
}

// [N, C, V, T], in one piece and in double.
struct Truth {
  int bodies, channels, joints, frames;
  std::vector<double> values;

  Truth(int n, int c, int v, int t)
      : bodies(n), channels(c), joints(v), frames(t), values(static_cast<std::size_t>(n) * c * v * t) {}
  double& operator()(int n, int c, int v, int t) {
    return values[((static_cast<std::size_t>(n) * channels + c) * joints + v) * frames + t];
  }
  double operator()(int n, int c, int v, int t) const { return const_cast<Truth&>(*this)(n, c, v, t); }
};

// An activation in memory of its own: valid frames as said, everything else NaN.
class Held {
 public:
  Held(int bodies, int channels, int joints, int frames, bool split) : memory_(0) {
    view_.bodies = bodies, view_.channels = channels, view_.joints = joints, view_.frames = frames;
    view_.split = split;
    memory_ = Guarded(view_.floats());
    view_.data = memory_.data();
  }
  const Activation& view() const { return view_; }
  operator const Activation&() const { return view_; }
  bool intact() const { return memory_.intact(); }

  float& at(int n, int c, int v, int t) const {
    const int part = view_.split ? t % 2 : 0, place = view_.split ? t / 2 : t;
    return view_.body(n)[static_cast<std::size_t>(c) * static_cast<std::size_t>(view_.columns()) +
                         static_cast<std::size_t>(v * view_.joint_step() + part * view_.part_step() + place)];
  }
  // value(n, c, v, t) everywhere.
  template <class Value>
  void set(const Value& value) const {
    for (int n = 0; n < view_.bodies; ++n)
      for (int c = 0; c < view_.channels; ++c)
        for (int v = 0; v < view_.joints; ++v)
          for (int t = 0; t < view_.frames; ++t) at(n, c, v, t) = static_cast<float>(value(n, c, v, t));
  }
  void set(const Truth& values) const {
    set([&](int n, int c, int v, int t) { return values(n, c, v, t); });
  }

 private:
  Activation view_;
  Guarded memory_;
};

// Floats as doubles, so that the truth starts from what the op sees.
inline Truth noise_like(const Activation& x, double low, double high, unsigned seed) {
  Truth out(x.bodies, x.channels, x.joints, x.frames);
  const std::vector<float> values = noise(out.values.size(), low, high, seed);
  out.values.assign(values.begin(), values.end());
  return out;
}

// max |y - truth| / max |truth| over valid frames; infinite where one is not a finite number.
inline double error(const Held& y, const Truth& truth) {
  double worst = 0, largest = 0;
  for (int n = 0; n < truth.bodies; ++n)
    for (int c = 0; c < truth.channels; ++c)
      for (int v = 0; v < truth.joints; ++v)
        for (int t = 0; t < truth.frames; ++t) {
          const double got = y.at(n, c, v, t);
          if (!std::isfinite(got)) return std::numeric_limits<double>::infinity();
          worst = std::max(worst, std::abs(got - truth(n, c, v, t)));
          largest = std::max(largest, std::abs(truth(n, c, v, t)));
        }
  return worst / (largest > 0 ? largest : 1);
}

// The instruction sets that run here.
inline std::vector<ski_edge::Isa> isas() {
  std::vector<ski_edge::Isa> here;
  for (const ski_edge::Isa isa : ski_edge::built_isas()) {
    if (ski_edge::why_not(isa).empty()) here.push_back(isa);
  }
  return here;
}

// Pools of 1 to 3 threads, made once.
inline ski_edge::ThreadPool& pool(int threads) {
  static ski_edge::ThreadPool pools[] = {ski_edge::ThreadPool(1), ski_edge::ThreadPool(2),
                                         ski_edge::ThreadPool(3)};
  return pools[threads - 1];
}

inline std::string shape_name(const Activation& x) {
  return std::to_string(x.bodies) + "x" + std::to_string(x.channels) + "x" + std::to_string(x.joints) + "x" +
         std::to_string(x.frames) + (x.split ? " split" : "");
}

// One case with every instruction set: Op(weights, isa), run by call(op, y, workspace, pool) in a workspace
// of exactly op.workspace(sized_by, threads) floats of NaN, into a y of NaN, which `prepare` may fill.
template <class Op, class Weights, class Call>
void compare(
    const std::string& label, const Weights& weights, const Activation& sized_by, int threads,
    const Truth& truth, bool split_y, const Call& call, const Tolerance& tolerance = {},
    const std::function<void(const Held&)>& prepare = [](const Held&) {}) {
  double worst[2] = {};  // in full precision, in bfloat16
  bool intact = true;
  std::string where;
  for (const ski_edge::Isa isa : isas()) {
    const Op op(weights, isa);
    const Guarded workspace(op.workspace(sized_by, threads));
    const Held y(truth.bodies, truth.channels, truth.joints, truth.frames, split_y);
    prepare(y);
    call(op, y.view(), workspace.data(), pool(threads));
    const double here = error(y, truth);
    if (!(here <= tolerance.of(isa)) || !workspace.intact() || !y.intact()) {
      where += std::string(" ") + ski_edge::name(isa) + " (" + std::to_string(here) + ")";
    }
    double& most = worst[isa == ski_edge::bf16_isa()];
    most = std::max(most, here);
    intact = intact && workspace.intact() && y.intact();
  }
  char text[100];
  std::snprintf(text, sizeof text, ": error %.1e, bfloat16 %.1e%s", worst[0], worst[1],
                intact ? "" : ", memory behind was written");
  expect(where.empty(),
         (label + " " + std::to_string(threads) + " threads" + text + (where.empty() ? "" : " on") + where)
             .c_str());
}
