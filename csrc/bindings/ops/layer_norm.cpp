#include "ski_edge/ops/layer_norm.h"

#include "bindings/bindings.h"
#include "bindings/bound.h"

namespace ski_edge {

namespace {

Bound<LayerNorm> make(const Array& weight, const Array& bias, int threads, const std::string& isa) {
  LayerNormWeights w;
  w.channels = size_of(weight, "weight", 0);
  w.weight = tensor(weight, "weight", {w.channels});
  w.bias = tensor(bias, "bias", {w.channels});
  return bound(LayerNorm(w, isa_of(isa)), threads, w.channels);
}

}  // namespace

void bind_layer_norm(py::module_& m) {
  py::class_<Bound<LayerNorm>>(m, "LayerNorm")
      .def(py::init(&make), py::kw_only(), py::arg("weight"), py::arg("bias"), py::arg("threads") = 0,
           py::arg("isa") = "")
      .def("run", &run_graph_op<LayerNorm>, py::arg("x"))
      .def_readonly("seconds", &Bound<LayerNorm>::seconds);
}

}  // namespace ski_edge
