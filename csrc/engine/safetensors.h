// Reads safetensors files: 8-byte little-endian header size, JSON header, data. Nothing in it is trusted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ski_edge {

// All tensors of one file, in memory. Every method throws BadInput that names the file and the tensor.
class SafeTensors {
 public:
  static SafeTensors open(const std::string& path);
  // `where` names the bytes in errors.
  static SafeTensors from_bytes(std::string bytes, const std::string& where);

  std::vector<std::string> names() const;  // sorted
  bool has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
  const std::vector<int64_t>& shape(std::string_view name) const;

  // Row-major values of an F32, F16, BF16 or F64 tensor, all finite, F64 rounded to float. Refuses a tensor
  // that is missing, has another dtype or not exactly `expected_shape`, or holds what float cannot.
  std::vector<float> floats(std::string_view name, const std::vector<int64_t>& expected_shape) const;

 private:
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    uint64_t begin, end;  // bytes, from the start of the data
  };

  SafeTensors() = default;
  const Tensor& tensor(std::string_view name) const;
  void read_header(std::string_view header, uint64_t data_size);
  void check_layout(uint64_t data_size) const;

  std::string where_;
  std::string bytes_;
  size_t data_start_ = 0;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace ski_edge
