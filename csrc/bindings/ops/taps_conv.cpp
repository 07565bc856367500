#include "ski_edge/ops/taps_conv.h"

#include "bindings/bindings.h"
#include "bindings/bound.h"

namespace ski_edge {

namespace {

Bound<TapsConv> make(const Array& weight, const Array& bias, const std::optional<Array>& skip, int stride,
                     int threads, const std::string& isa) {
  TapsConvWeights w;
  w.outputs = size_of(weight, "weight", 0), w.inputs = size_of(weight, "weight", 1);
  w.taps = size_of(weight, "weight", 2), w.stride = stride;
  w.weight = tensor(weight, "weight", {w.outputs, w.inputs, w.taps});
  w.bias = tensor(bias, "bias", {w.outputs});
  if (skip) {
    w.residual_channels = size_of(*skip, "skip", 1);
    w.skip = tensor(*skip, "skip", {w.outputs, w.residual_channels});
  }
  return bound(TapsConv(w, isa_of(isa)), threads, w.outputs, stride);
}

}  // namespace

void bind_taps_conv(py::module_& m) {
  py::class_<Bound<TapsConv>>(m, "TapsConv")
      .def(py::init(&make), py::kw_only(), py::arg("weight"), py::arg("bias"), py::arg("skip") = py::none(),
           py::arg("stride") = 1, py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_time_op<TapsConv>, py::arg("x"), py::arg("residual") = py::none())
      .def_readonly("seconds", &Bound<TapsConv>::seconds);
}

}  // namespace ski_edge
