#include "engine/fold.h"

#include <cmath>

#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {

int Tensors::axis(const std::string& name, std::size_t index) const {
  const std::string full = prefix_ + name;
  check(file_.has(full), "weights hold no ", full, "; are they of another model?");
  const std::vector<std::int64_t>& shape = file_.shape(full);
  check(index < shape.size(), "weights: ", full, " must have an axis ", index, ", it has ", shape.size(),
        " axes; are they of another model?");
  check(shape[index] >= 1 && shape[index] <= kMostAxis, "weights: ", full, " must have 1 to ", kMostAxis,
        " in axis ", index, ", got ", shape[index], "; are they of another model?");
  return static_cast<int>(shape[index]);
}

Affine read_norm(const Tensors& norm, int channels) {
  const std::vector<std::int64_t> shape = {channels};
  const std::vector<float> weight = norm.get("weight", shape), bias = norm.get("bias", shape);
  const std::vector<float> mean = norm.get("running_mean", shape), variance = norm.get("running_var", shape);
  Affine out{weight, bias};
  for (std::size_t i = 0; i < weight.size(); ++i) {
    check(variance[i] >= 0, "weights: a running_var is negative (", variance[i],
          "); the checkpoint is damaged");
    const double scale = weight[i] / std::sqrt(static_cast<double>(variance[i]) + 1e-5);
    out.scale[i] = static_cast<float>(scale);
    out.shift[i] = static_cast<float>(bias[i] - mean[i] * scale);
  }
  return out;
}

Folded fold(std::vector<float> weight, const std::vector<float>& bias, const Affine& norm) {
  const std::size_t rows = norm.scale.size(), depth = weight.size() / rows;
  Folded out{std::move(weight), norm.shift};
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t k = 0; k < depth; ++k) out.weight[row * depth + k] *= norm.scale[row];
    if (!bias.empty()) out.bias[row] += bias[row] * norm.scale[row];
  }
  return out;
}

Folded read_conv_norm(const Tensors& tensors, int outputs, int inputs) {
  const Tensors conv = tensors.below("conv");
  return fold(conv.get("weight", {outputs, inputs, 1, 1}), conv.get("bias", {outputs}),
              read_norm(tensors.below("norm"), outputs));
}

}  // namespace ski_edge
