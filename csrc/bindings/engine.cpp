// ski_edge._C.Engine: whole networks. Arrays come in and go out as numpy; the global lock is not held while
// it runs.
#include "ski_edge/engine.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <mutex>

#include "bindings/bindings.h"
#include "bindings/clips.h"
#include "ski_edge/check.h"
#include "ski_edge/peak.h"
#include "ski_edge/stream.h"

namespace py = pybind11;

namespace ski_edge {

namespace {

// One caller at a time: others wait, without the global lock.
struct SharedEngine {
  Engine engine;
  std::mutex mutex;
};
struct SharedStream {
  Stream stream;
  std::mutex mutex;
};

EngineOptions options_of(int threads, const std::string& isa) {
  return {threads, isa.empty() ? best_isa() : parse_isa(isa)};
}

}  // namespace

void bind_engine(py::module_& m) {
  py::class_<NetworkSpec>(m, "NetworkSpec")
      .def(py::init([](std::string model, std::string variant, int joints, int persons, int classes,
                       bool skip_empty, std::vector<int> group_of, std::vector<int> hop_of) {
             return NetworkSpec{std::move(model), std::move(variant),  joints,           persons, classes,
                                skip_empty,       std::move(group_of), std::move(hop_of)};
           }),
           py::kw_only(), py::arg("model"), py::arg("variant"), py::arg("joints"), py::arg("persons"),
           py::arg("classes"), py::arg("skip_empty"), py::arg("group_of"), py::arg("hop_of"));
  py::class_<SharedEngine>(m, "Engine")
      .def(py::init(
               [](const std::string& weights, const NetworkSpec& spec, int threads, const std::string& isa) {
                 const EngineOptions options = options_of(threads, isa);
                 py::gil_scoped_release free;
                 return std::unique_ptr<SharedEngine>(new SharedEngine{Engine(weights, spec, options), {}});
               }),
           py::arg("weights"), py::arg("spec"), py::kw_only(), py::arg("threads") = 0, py::arg("isa") = "")
      .def(
          "run",
          [](SharedEngine& self, const py::array_t<float>& clip) {
            const ClipView x = view(clip);
            const auto n = static_cast<py::ssize_t>(x.clips);
            py::array_t<float> logits({n, static_cast<py::ssize_t>(self.engine.classes())});
            py::array_t<float> features({n, static_cast<py::ssize_t>(self.engine.feature_dim())});
            float *to = logits.mutable_data(), *embedding = features.mutable_data();
            {
              py::gil_scoped_release free;
              const std::lock_guard<std::mutex> one(self.mutex);
              self.engine.run(x, to, embedding);
            }
            return py::make_tuple(logits, features);
          },
          py::arg("clip").noconvert(),
          "float32 [N, 3, T, V, M], preprocessed, any strides -> (logits [N, K], features [N, D])")
      .def(
          "profile",
          [](SharedEngine& self, const py::array_t<float>& clip) {
            const ClipView x = view(clip);
            std::vector<float> logits(static_cast<std::size_t>(x.clips * self.engine.classes()));
            std::vector<double> seconds;
            {
              py::gil_scoped_release free;
              const std::lock_guard<std::mutex> one(self.mutex);
              self.engine.run(x, logits.data(), nullptr, &seconds);
            }
            return seconds;
          },
          py::arg("clip").noconvert(),
          "runs a clip -> seconds of the input norm, the spatial and temporal part of each block, the "
          "pooling")
      .def_property_readonly("feature_dim",
                             [](const SharedEngine& self) { return self.engine.feature_dim(); })
      .def_property_readonly("threads", [](const SharedEngine& self) { return self.engine.threads(); })
      .def_property_readonly("isa",
                             [](const SharedEngine& self) { return std::string(name(self.engine.isa())); });
  py::class_<SharedStream>(m, "Stream")
      .def(py::init([](const std::string& weights, const NetworkSpec& spec, int window, int threads,
                       const std::string& isa) {
             const EngineOptions options = options_of(threads, isa);
             py::gil_scoped_release free;
             return std::unique_ptr<SharedStream>(
                 new SharedStream{Stream(weights, spec, window, options), {}});
           }),
           py::arg("weights"), py::arg("spec"), py::arg("window"), py::kw_only(), py::arg("threads") = 0,
           py::arg("isa") = "")
      .def(
          "step",
          [](SharedStream& self, const py::array_t<float>& frame) -> py::object {
            const ClipView x = view(frame);
            py::array_t<float> logits(self.stream.classes()), features(self.stream.feature_dim());
            float *to = logits.mutable_data(), *embedding = features.mutable_data();
            bool ready;
            {
              py::gil_scoped_release free;
              const std::lock_guard<std::mutex> one(self.mutex);
              ready = self.stream.step(x, to, embedding);
            }
            return ready ? py::object(py::make_tuple(logits, features)) : py::none();
          },
          py::arg("frame").noconvert(),
          "float32 [1, 3, 1, V, M], preprocessed -> (logits [K], features [D]), or None so far")
      .def("reset",
           [](SharedStream& self) {
             py::gil_scoped_release free;
             const std::lock_guard<std::mutex> one(self.mutex);
             self.stream.reset();
           })
      .def_property_readonly("window", [](const SharedStream& self) { return self.stream.window(); })
      .def_property_readonly("receptive_field",
                             [](const SharedStream& self) { return self.stream.receptive_field(); });
  m.def(
      "peak_gflops",
      [](int threads, const std::string& isa) {
        const Isa chosen = options_of(threads, isa).isa;
        py::gil_scoped_release free;
        ThreadPool pool(threads);
        return peak_gflops(chosen, pool);
      },
      py::kw_only(), py::arg("threads") = 0, py::arg("isa") = "");
  m.def("why_not_stream", &why_not_stream, py::arg("model"));
  m.def("why_not_engine", &why_not_engine, py::arg("model"));
  m.def("isas", [] {
    std::vector<std::pair<std::string, std::string>> out;
    for (const Isa isa : built_isas()) out.emplace_back(name(isa), why_not(isa));
    return out;
  });
}

}  // namespace ski_edge
