// An op in Python's hands: weights packed once, threads of its own, run many times.
#pragma once

#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "bindings/arrays.h"
#include "ski_edge/isa.h"
#include "ski_edge/thread_pool.h"

namespace ski_edge {

using Clock = std::chrono::steady_clock;

// The threads an op runs on: one caller at a time, others wait without the global lock.
struct Workers {
  ThreadPool pool;
  std::mutex mutex;

  explicit Workers(int threads) : pool(threads) {}
};

template <class Op>
struct Bound {
  Op op;
  std::unique_ptr<Workers> workers;
  int outputs, stride;
  double seconds = 0;  // of the last run, without what the border costs: copies, workspace
};

template <class Op>
Bound<Op> bound(Op op, int threads, int outputs, int stride = 1) {
  return {std::move(op), std::make_unique<Workers>(threads), outputs, stride, 0};
}

inline Isa isa_of(const std::string& isa) { return isa.empty() ? best_isa() : parse_isa(isa); }

template <class Op>
py::array_t<float> run_graph_op(Bound<Op>& self, const py::array_t<float>& x) {
  const Held in(x, "x", false);
  const Held out(in.view.bodies, self.outputs, in.view.joints, in.view.frames);
  {
    py::gil_scoped_release free;
    const std::lock_guard<std::mutex> one(self.workers->mutex);
    const Floats workspace(self.op.workspace(in.view, self.workers->pool.threads()));
    const auto start = Clock::now();
    self.op.run(in.view, out.view, workspace.data(), self.workers->pool);
    self.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return out.array();
}

template <class Op>
py::array_t<float> run_time_op(Bound<Op>& self, const py::array_t<float>& x,
                               const std::optional<py::array_t<float>>& residual) {
  const bool split = self.stride == 2;
  const Held in(x, "x", split);
  std::optional<Held> add;
  if (residual) add.emplace(*residual, "residual", split);
  const Held out(in.view.bodies, self.outputs, in.view.joints,
                 (in.view.frames + self.stride - 1) / self.stride);
  {
    py::gil_scoped_release free;
    const std::lock_guard<std::mutex> one(self.workers->mutex);
    const Floats workspace(self.op.workspace(in.view, self.workers->pool.threads()));
    const auto start = Clock::now();
    self.op.run(in.view, add ? add->view : Activation{}, out.view, workspace.data(), self.workers->pool);
    self.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return out.array();
}

}  // namespace ski_edge
