#include "ski_edge/ops/pool_head.h"

#include "bindings/bindings.h"
#include "bindings/bound.h"
#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {

namespace {

struct BoundHead {
  Bound<PoolHead> bound;
  int channels, persons;
};

BoundHead make(const Array& weight, const Array& bias, int persons, int threads, const std::string& isa) {
  PoolHeadWeights w;
  w.classes = size_of(weight, "weight", 0, kMostClasses), w.channels = size_of(weight, "weight", 1),
  w.persons = persons;
  w.weight = tensor(weight, "weight", {w.classes, w.channels});
  w.bias = tensor(bias, "bias", {w.classes});
  return {bound(PoolHead(w, isa_of(isa)), threads, w.classes), w.channels, persons};
}

py::tuple run(const BoundHead& self, const py::array_t<float>& x) {
  const Held in(x, "x", false);
  check(in.view.bodies % self.persons == 0, "pool_head: x must hold ", self.persons, " bodies per clip, got ",
        in.view.bodies, " bodies");
  const int clips = in.view.bodies / self.persons;
  py::array_t<float> logits({clips, self.bound.outputs}), features({clips, self.channels});
  float *scores = logits.mutable_data(), *means = features.mutable_data();
  {
    py::gil_scoped_release free;
    const std::lock_guard<std::mutex> one(self.bound.workers->mutex);
    ThreadPool& pool = self.bound.workers->pool;
    const Floats workspace(self.bound.op.workspace(in.view, pool.threads()));
    self.bound.op.run(in.view, scores, means, workspace.data(), pool);
  }
  return py::make_tuple(logits, features);
}

}  // namespace

void bind_pool_head(py::module_& m) {
  py::class_<BoundHead>(m, "PoolHead")
      .def(py::init(&make), py::kw_only(), py::arg("weight"), py::arg("bias"), py::arg("persons") = 1,
           py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run, py::arg("x"));
}

}  // namespace ski_edge
