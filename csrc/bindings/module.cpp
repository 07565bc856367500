#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "ski_edge/build_info.h"
#include "ski_edge/check.h"
#include "ski_edge/device.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m) {
  m.doc() = "ski-edge native library; `ski-edge doctor` prints what it was built with";
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const ski_edge::BadInput& error) {
      py::set_error(py::module_::import("ski_edge.errors").attr("BadInput"), error.what());
    }
  });
  ski_edge::bind_engine(m);
#ifdef SKI_EDGE_HAS_CUDA
  ski_edge::bind_cuda_engine(m);
#endif
  ski_edge::bind_ctr_gc(m);
  ski_edge::bind_graph_conv(m);
  ski_edge::bind_hyperedge_attention(m);
  ski_edge::bind_layer_norm(m);
  ski_edge::bind_multi_scale_temporal(m);
  ski_edge::bind_pool_head(m);
  ski_edge::bind_taps_conv(m);
  m.def("build_info", [] {
    const ski_edge::BuildInfo info = ski_edge::build_info();
    py::dict out;
    out["version"] = info.version;
    out["compiler"] = info.compiler;
    out["cpp_standard"] = info.cpp_standard;
    out["cuda_version"] = info.cuda_version;
    out["cuda_archs"] = info.cuda_archs;
    return out;
  });
  m.def("why_not_cuda", py::overload_cast<>(&ski_edge::why_not_cuda));
  m.def("why_not_cuda", py::overload_cast<int>(&ski_edge::why_not_cuda), py::arg("device"));
  m.def("why_not_code", &ski_edge::why_not_code, py::arg("sm"), py::arg("archs"));
  m.def("cuda_devices", [] {
    py::list out;
    for (const ski_edge::CudaDevice& device : ski_edge::cuda_devices()) {
      py::dict row;
      row["name"] = device.name;
      row["sm"] = device.sm;
      row["memory"] = device.memory;
      out.append(row);
    }
    return out;
  });
}
