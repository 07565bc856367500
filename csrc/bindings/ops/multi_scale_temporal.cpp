#include "ski_edge/ops/multi_scale_temporal.h"

#include "bindings/bindings.h"
#include "bindings/bound.h"
#include "ski_edge/check.h"

namespace ski_edge {

namespace {

Bound<MultiScaleTemporal> make(const Array& reduce, const Array& reduce_bias, const Array& near,
                               const Array& far, const Array& point, const Array& pool_scale,
                               const Array& bias, const std::optional<Array>& skip,
                               const std::optional<Array>& skip_bias, int stride, bool relu_before,
                               int threads, const std::string& isa) {
  MultiScaleTemporalWeights w;
  const int c = size_of(reduce, "reduce", 1), width = c / 4, taps = size_of(near, "near", 2);
  w.channels = c, w.stride = stride, w.taps = taps, w.relu_before = relu_before;
  w.reduce = tensor(reduce, "reduce", {3 * width, c});
  w.reduce_bias = tensor(reduce_bias, "reduce_bias", {3 * width});
  w.dilated[0] = tensor(near, "near", {width, width, taps});
  w.dilated[1] = tensor(far, "far", {width, width, taps});
  w.point = tensor(point, "point", {width, c});
  w.pool_scale = tensor(pool_scale, "pool_scale", {width});
  w.bias = tensor(bias, "bias", {4 * width});
  check(skip.has_value() == skip_bias.has_value(), "skip and skip_bias go together");
  if (skip) {
    w.residual_channels = size_of(*skip, "skip", 1);
    w.skip = tensor(*skip, "skip", {c, w.residual_channels});
    w.skip_bias = tensor(*skip_bias, "skip_bias", {c});
  }
  return bound(MultiScaleTemporal(w, isa_of(isa)), threads, c, stride);
}

}  // namespace

void bind_multi_scale_temporal(py::module_& m) {
  py::class_<Bound<MultiScaleTemporal>>(m, "MultiScaleTemporal")
      .def(py::init(&make), py::kw_only(), py::arg("reduce"), py::arg("reduce_bias"), py::arg("near"),
           py::arg("far"), py::arg("point"), py::arg("pool_scale"), py::arg("bias"),
           py::arg("skip") = py::none(), py::arg("skip_bias") = py::none(), py::arg("stride") = 1,
           py::arg("relu_before") = false, py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &run_time_op<MultiScaleTemporal>, py::arg("x"), py::arg("residual") = py::none())
      .def_readonly("seconds", &Bound<MultiScaleTemporal>::seconds);
}

}  // namespace ski_edge
