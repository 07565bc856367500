// ski_edge._C.CudaEngine: whole networks on a CUDA device. Arrays come in and go out as numpy, or stay where
// they are, lent by DLPack.
#include "ski_edge/cuda_engine.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <mutex>

#include "bindings/bindings.h"
#include "bindings/clips.h"
#include "bindings/dlpack.h"

namespace ski_edge {

namespace {

using Floats2 = py::array_t<float>;

// One caller at a time: others wait, without the global lock.
struct SharedCudaEngine {
  CudaEngine engine;
  int device;
  std::mutex mutex;
  py::ssize_t submitted = 0;  // clips

  Floats2 rows(py::ssize_t clips, int width) const {
    return Floats2({clips, static_cast<py::ssize_t>(width)});
  }
};

py::tuple run(SharedCudaEngine& self, const py::array_t<float>& clip) {
  const ClipView x = view(clip);
  Floats2 logits = self.rows(x.clips, self.engine.classes());
  Floats2 features = self.rows(x.clips, self.engine.feature_dim());
  float *to = logits.mutable_data(), *embedding = features.mutable_data();
  {
    py::gil_scoped_release free;
    const std::lock_guard<std::mutex> one(self.mutex);
    self.engine.run(x, to, embedding);
  }
  return py::make_tuple(logits, features);
}

void submit(SharedCudaEngine& self, const py::array_t<float>& clip) {
  const ClipView x = view(clip);
  py::gil_scoped_release free;
  const std::lock_guard<std::mutex> one(self.mutex);
  self.engine.submit(x);
  self.submitted = static_cast<py::ssize_t>(x.clips);
}

py::tuple wait(SharedCudaEngine& self) {
  const py::ssize_t clips = self.submitted;
  Floats2 logits = self.rows(clips, self.engine.classes());
  Floats2 features = self.rows(clips, self.engine.feature_dim());
  float *to = logits.mutable_data(), *embedding = features.mutable_data();
  {
    py::gil_scoped_release free;
    const std::lock_guard<std::mutex> one(self.mutex);
    check(self.submitted == clips,
          "another thread submitted clips meanwhile; one at a time submits and waits");
    self.submitted = 0;
    self.engine.wait(to, embedding);
  }
  return py::make_tuple(logits, features);
}

// stream: as DLPack counts them: 1 the legacy default stream, 2 the default one of each thread, or an
// address.
void run_device(SharedCudaEngine& self, const py::capsule& clip, const py::capsule& logits,
                const py::capsule& features, std::uintptr_t stream) {
  const Lent in(clip, "clip", self.device);
  check(in.axes() == 5 && in.size(1) == 3, "a clip must be float32 [N, 3, T, V, M], got ", in.axes(),
        " axes");
  ClipView x;
  x.data = in.data();
  x.clips = in.size(0), x.frames = in.size(2), x.joints = in.size(3), x.persons = in.size(4);
  x.clip_step = in.step(0), x.coordinate_step = in.step(1), x.frame_step = in.step(2);
  x.joint_step = in.step(3), x.person_step = in.step(4);
  float* const to = Lent(logits, "logits", self.device).rows(x.clips, self.engine.classes());
  float* const embedding = Lent(features, "features", self.device).rows(x.clips, self.engine.feature_dim());
  py::gil_scoped_release free;
  const std::lock_guard<std::mutex> one(self.mutex);
  self.engine.run_on_device(x, to, embedding, reinterpret_cast<void*>(stream));
}

Floats2 time_replays(SharedCudaEngine& self, int times) {
  check(times >= 1 && times <= 1000000, "times must be 1 to 1000000, got ", times);
  Floats2 milliseconds(times);
  float* const to = milliseconds.mutable_data();
  py::gil_scoped_release free;
  const std::lock_guard<std::mutex> one(self.mutex);
  self.engine.time_replays(times, to);
  return milliseconds;
}

}  // namespace

void bind_cuda_engine(py::module_& m) {
  py::class_<SharedCudaEngine>(m, "CudaEngine")
      .def(py::init([](const std::string& weights, const NetworkSpec& spec, int device,
                       const std::string& precision) {
             const CudaOptions options{device, parse_cuda_precision(precision)};
             py::gil_scoped_release free;
             return std::unique_ptr<SharedCudaEngine>(
                 new SharedCudaEngine{CudaEngine(weights, spec, options), device, {}});
           }),
           py::arg("weights"), py::arg("spec"), py::kw_only(), py::arg("device") = 0,
           py::arg("precision") = "fp16")
      .def("run", &run, py::arg("clip").noconvert(),
           "float32 [N, 3, T, V, M], preprocessed, any strides -> (logits [N, K], features [N, D])")
      .def("submit", &submit, py::arg("clip").noconvert(),
           "the first half of `run`: starts it, and has read the clip when it returns")
      .def("wait", &wait, "the second half: (logits, features) of what was submitted")
      .def("run_device", &run_device, py::arg("clip"), py::arg("logits"), py::arg("features"),
           py::arg("stream"),
           "DLPack capsules of the engine's device, clip [N, 3, T, V, M] in, logits [N, K] and features [N, "
           "D] "
           "written on the stream, numbered as DLPack does")
      .def("time_replays", &time_replays, py::arg("times"),
           "replays the graph of the last clips -> float32 [times], milliseconds each, copies included")
      .def_property_readonly("device", [](const SharedCudaEngine& self) { return self.device; })
      .def_property_readonly("classes", [](const SharedCudaEngine& self) { return self.engine.classes(); })
      .def_property_readonly("feature_dim",
                             [](const SharedCudaEngine& self) { return self.engine.feature_dim(); })
      .def_property_readonly("bytes", [](SharedCudaEngine& self) {
        const std::lock_guard<std::mutex> one(self.mutex);
        return self.engine.bytes();
      });
}

}  // namespace ski_edge
