// Tensors of a checkpoint with the norms folded in: what the ops take.
#pragma once

#include <string>
#include <vector>

#include "engine/safetensors.h"

namespace ski_edge {

// Reads tensors by name below a prefix; sizes are checked against what the network needs.
class Tensors {
 public:
  Tensors(const SafeTensors& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  Tensors below(const std::string& name) const { return Tensors(file_, prefix_ + name + "."); }
  bool has(const std::string& name) const { return file_.has(prefix_ + name); }
  std::vector<float> get(const std::string& name, std::vector<std::int64_t> shape) const {
    return file_.floats(prefix_ + name, shape);
  }
  // The size of one axis of a tensor, for what only the weights know: 1 to kMostAxis, so that the product of
  // two sizes fits an int.
  int axis(const std::string& name, std::size_t index) const;

 private:
  const SafeTensors& file_;
  std::string prefix_;
};

// x -> x * scale + shift per channel: a BatchNorm in eval mode.
struct Affine {
  std::vector<float> scale, shift;
};
Affine read_norm(const Tensors& norm, int channels);

// A convolution (or a matrix) whose rows carry a norm's numbers.
struct Folded {
  std::vector<float> weight, bias;
};

// norm(conv(x)) as one convolution. bias may be empty.
Folded fold(std::vector<float> weight, const std::vector<float>& bias, const Affine& norm);

// A ConvNorm of ski_edge.models.pose: `conv` 1x1 with bias, `norm`.
Folded read_conv_norm(const Tensors& tensors, int outputs, int inputs);

}  // namespace ski_edge
