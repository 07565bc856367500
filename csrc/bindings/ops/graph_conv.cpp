#include "ski_edge/ops/graph_conv.h"

#include "bindings/bindings.h"
#include "bindings/bound.h"
#include "ski_edge/check.h"

namespace ski_edge {

namespace {

Bound<GraphConv> make(const Array& graph, const Array& value, const Array& value_bias, const Array& shift,
                      bool identity, const std::optional<Array>& shortcut, bool relu, int threads,
                      const std::string& isa) {
  GraphConvWeights w;
  w.subsets = size_of(graph, "graph", 0), w.joints = size_of(graph, "graph", 1);
  w.outputs = size_of(shift, "shift", 0), w.inputs = size_of(value, "value", 1);
  const int s = w.subsets, c = w.inputs, o = w.outputs, v = w.joints;
  w.graph = tensor(graph, "graph", {s, v, v});
  w.value = tensor(value, "value", {s * o, c});
  w.value_bias = tensor(value_bias, "value_bias", {s * o});
  w.shift = tensor(shift, "shift", {o});
  check(!(identity && shortcut), "the shortcut is x itself or a convolution, not both");
  if (identity) w.shortcut = Shortcut::identity;
  if (shortcut) w.shortcut = Shortcut::convolution, w.shortcut_weight = tensor(*shortcut, "shortcut", {o, c});
  w.relu = relu;
  return bound(GraphConv(w, isa_of(isa)), threads, o);
}

}  // namespace

void bind_graph_conv(py::module_& m) {
  py::class_<Bound<GraphConv>>(m, "GraphConv")
      .def(py::init(&make), py::kw_only(), py::arg("graph"), py::arg("value"), py::arg("value_bias"),
           py::arg("shift"), py::arg("identity") = false, py::arg("shortcut") = py::none(),
           py::arg("relu") = true, py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_graph_op<GraphConv>, py::arg("x"))
      .def_readonly("seconds", &Bound<GraphConv>::seconds);
}

}  // namespace ski_edge
