#include "ski_edge/ops/ctr_gc.h"

#include "bindings/bindings.h"
#include "bindings/bound.h"

namespace ski_edge {

namespace {

Bound<CtrGc> make(const Array& relation, const Array& relation_bias, const Array& expand,
                  const Array& expand_bias, const Array& adjacency, const Array& value,
                  const Array& value_bias, const Array& shift, const std::optional<Array>& shortcut,
                  int threads, const std::string& isa) {
  CtrGcWeights w;
  w.subsets = size_of(adjacency, "adjacency", 0), w.joints = size_of(adjacency, "adjacency", 1);
  w.outputs = size_of(shift, "shift", 0), w.inputs = size_of(value, "value", 1);
  w.relations = size_of(expand, "expand", 1);
  const int s = w.subsets, r = w.relations, c = w.inputs, o = w.outputs, v = w.joints;
  w.relation = tensor(relation, "relation", {2 * s * r, c});
  w.relation_bias = tensor(relation_bias, "relation_bias", {2 * s * r});
  w.expand = tensor(expand, "expand", {s * o, r});
  w.expand_bias = tensor(expand_bias, "expand_bias", {s * o});
  w.adjacency = tensor(adjacency, "adjacency", {s, v, v});
  w.value = tensor(value, "value", {s * o, c});
  w.value_bias = tensor(value_bias, "value_bias", {s * o});
  w.shift = tensor(shift, "shift", {o});
  if (shortcut) w.shortcut = tensor(*shortcut, "shortcut", {o, c});
  return bound(CtrGc(w, isa_of(isa)), threads, o);
}

}  // namespace

void bind_ctr_gc(py::module_& m) {
  py::class_<Bound<CtrGc>>(m, "CtrGc")
      .def(py::init(&make), py::kw_only(), py::arg("relation"), py::arg("relation_bias"), py::arg("expand"),
           py::arg("expand_bias"), py::arg("adjacency"), py::arg("value"), py::arg("value_bias"),
           py::arg("shift"), py::arg("shortcut") = py::none(), py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_graph_op<CtrGc>, py::arg("x"))
      .def_readonly("seconds", &Bound<CtrGc>::seconds);
}

}  // namespace ski_edge
