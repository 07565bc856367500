// The parts of the Python module; module.cpp lists them.
#pragma once

#include <pybind11/pybind11.h>

namespace ski_edge {

void bind_engine(pybind11::module_& m);
void bind_cuda_engine(pybind11::module_& m);  // where the build has CUDA code
void bind_ctr_gc(pybind11::module_& m);
void bind_graph_conv(pybind11::module_& m);
void bind_hyperedge_attention(pybind11::module_& m);
void bind_layer_norm(pybind11::module_& m);
void bind_multi_scale_temporal(pybind11::module_& m);
void bind_pool_head(pybind11::module_& m);
void bind_taps_conv(pybind11::module_& m);

}  // namespace ski_edge
