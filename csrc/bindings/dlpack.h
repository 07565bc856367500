// DLPack, the part of it that is read here: arrays of other libraries, where they are. The layout of these
// structures is the standard's (version 0.x, capsules called "dltensor"), which torch, CuPy and numpy give.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "ski_edge/check.h"

namespace ski_edge {

namespace py = pybind11;

namespace dlpack {

enum DeviceKind : std::int32_t { kCpu = 1, kCuda = 2, kCudaManaged = 13 };
constexpr std::uint8_t kFloat = 2;

struct Tensor {
  void* data;
  std::int32_t device_kind;
  std::int32_t device_index;
  std::int32_t axes;
  std::uint8_t kind;
  std::uint8_t bits;
  std::uint16_t lanes;
  std::int64_t* shape;
  std::int64_t* strides;  // in numbers, null where rows lie side by side
  std::uint64_t byte_offset;
};

}  // namespace dlpack

// A tensor lent for one call: the capsule stays its owner, and frees it when Python lets go of it.
class Lent {
 public:
  // device: -1 for the host. Throws BadInput unless it is float32 there.
  Lent(const py::capsule& capsule, const char* name, int device) : name_(name) {
    check(std::string(capsule.name() == nullptr ? "" : capsule.name()) == "dltensor", name,
          " must be a DLPack capsule that nobody has used yet");
    tensor_ = capsule.get_pointer<const dlpack::Tensor>();
    const bool host = tensor_->device_kind == dlpack::kCpu;
    const bool cuda = tensor_->device_kind == dlpack::kCuda || tensor_->device_kind == dlpack::kCudaManaged;
    check(device < 0 ? host : cuda, name, " must be in the memory of ",
          device < 0 ? "the host" : "a CUDA device",
          host ? "; this one is in the host's: give it to run()" : "");
    check(device < 0 || tensor_->device_index == device, name, " is on CUDA device ", tensor_->device_index,
          ", the engine on ", device);
    check(tensor_->kind == dlpack::kFloat && tensor_->bits == 32 && tensor_->lanes == 1, name,
          " must be float32, got numbers of ", int{tensor_->bits}, " bits and kind ", int{tensor_->kind});
  }

  int axes() const { return tensor_->axes; }
  std::int64_t size(int axis) const { return tensor_->shape[axis]; }
  std::int64_t step(int axis) const {
    if (tensor_->strides != nullptr) return tensor_->strides[axis];
    std::int64_t step = 1;
    for (int after = axis + 1; after < axes(); ++after) step *= size(after);
    return step;
  }
  float* data() const {
    return reinterpret_cast<float*>(static_cast<char*>(tensor_->data) + tensor_->byte_offset);
  }
  // [rows][columns], side by side.
  float* rows(std::int64_t count, std::int64_t width) const {
    check(axes() == 2 && size(0) == count && size(1) == width && (count == 1 || step(0) == width) &&
              (width == 1 || step(1) == 1),
          name_, " must be a contiguous [", count, ", ", width, "]");
    return data();
  }

 private:
  const char* name_;
  const dlpack::Tensor* tensor_;
};

}  // namespace ski_edge
