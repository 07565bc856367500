#include "engine/safetensors.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/files.h"
#include "engine/json.h"
#include "ski_edge/check.h"

namespace ski_edge {
namespace {

static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559);

constexpr uint64_t kPrefix = 8;               // bytes of the header size
constexpr uint64_t kMaxHeader = 100'000'000;  // as in the reference implementation
constexpr int64_t kMaxInt = std::numeric_limits<int64_t>::max();

// 0 for a dtype of a later format: such a tensor is only placed, until somebody asks for its values.
uint64_t element_size(const std::string& dtype) {
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "BOOL" || dtype == "U8" || dtype == "I8") return 1;
  return 0;
}

// Byte by byte, so that the machine's byte order and alignment do not matter; compilers make it one load.
template <class Unsigned>
Unsigned little_endian(const char* bytes) {
  Unsigned value = 0;
  for (size_t i = 0; i < sizeof(Unsigned); ++i)
    value = static_cast<Unsigned>(value | static_cast<Unsigned>(static_cast<uint8_t>(bytes[i])) << (8 * i));
  return value;
}

template <class To, class From>
To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

// On bits, because -ffast-math lets a compiler drop std::isfinite.
bool finite(uint32_t float_bits) { return (float_bits & 0x7F800000u) != 0x7F800000u; }
bool finite(uint64_t double_bits) { return (double_bits >> 52 & 0x7FF) != 0x7FF; }

// Half: 1 sign, 5 exponent (bias 15), 10 fraction bits. Float: 1, 8 (bias 127), 23.
uint32_t half_to_float_bits(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = half >> 10 & 0x1Fu;
  const uint32_t fraction = half & 0x3FFu;
  if (exponent == 0x1F) return sign | 0x7F800000u | fraction << 13;
  if (exponent != 0) return sign | (exponent + 112) << 23 | fraction << 13;
  // Zero or subnormal, fraction * 2^-24, which float holds exactly.
  return sign | same_bits<uint32_t>(static_cast<float>(fraction) * 0x1p-24f);
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i == 8) return text + ", ...]";  // a damaged file may claim a million axes
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

// Bytes the values take. Axes of length 0 do not hide the overflow of the others: callers multiply those too.
uint64_t bytes_of(const std::vector<int64_t>& shape, uint64_t element, const Json& source) {
  uint64_t bytes = element;
  bool empty = false;
  for (const int64_t length : shape) {
    empty |= length == 0;
    const uint64_t factor = length == 0 ? 1 : static_cast<uint64_t>(length);
    if (bytes > static_cast<uint64_t>(kMaxInt) / factor) source.expected("a shape of less than 2^63 bytes");
    bytes *= factor;
  }
  return empty ? 0 : bytes;
}

}  // namespace

SafeTensors SafeTensors::open(const std::string& path) {
  return from_bytes(read_file(path, "weights"), path);
}

SafeTensors SafeTensors::from_bytes(std::string bytes, const std::string& where) {
  const uint64_t size = bytes.size();
  check(size >= kPrefix, where, ": must be a safetensors file, got only ", std::to_string(size),
        " bytes; copy it again");
  const uint64_t header_size = little_endian<uint64_t>(bytes.data());
  check(header_size <= kMaxHeader && header_size <= size - kPrefix, where, ": claims a header of ",
        std::to_string(header_size), " bytes in a file of ", std::to_string(size),
        "; it is cut off, a Git LFS pointer or no safetensors file: copy it again");

  SafeTensors out;
  out.where_ = where;
  out.bytes_ = std::move(bytes);
  out.data_start_ = static_cast<size_t>(kPrefix + header_size);
  const std::string_view header(out.bytes_.data() + kPrefix, static_cast<size_t>(header_size));
  out.read_header(header, size - out.data_start_);
  out.check_layout(size - out.data_start_);
  return out;
}

void SafeTensors::read_header(std::string_view header, uint64_t data_size) {
  check(!header.empty() && header.front() == '{', where_, ": its header must start with '{', got \"",
        printable(header, 16), "\"; is it a safetensors file?");
  const Json root = parse_json(header, where_);
  for (const auto& [name, entry] : root.items()) {
    if (name == "__metadata__") continue;
    Tensor tensor;
    tensor.dtype = entry.at("dtype").as_string();
    const Json& shape = entry.at("shape");
    for (const Json& length : shape.as_array()) tensor.shape.push_back(length.as_int(0, kMaxInt));
    const Json& offsets = entry.at("data_offsets");
    if (offsets.as_array().size() != 2) offsets.expected("an array of 2");
    const int64_t begin = offsets.as_array()[0].as_int(0, kMaxInt);
    const int64_t end = offsets.as_array()[1].as_int(begin, kMaxInt);
    tensor.begin = static_cast<uint64_t>(begin);
    tensor.end = static_cast<uint64_t>(end);
    check(tensor.end <= data_size, where_, ": ", offsets.path(), " must stay within the ",
          std::to_string(data_size), " bytes of data, got [", std::to_string(begin), ", ",
          std::to_string(end), "]; the file is cut off or damaged: copy it again");
    const uint64_t element = element_size(tensor.dtype);
    const uint64_t bytes = bytes_of(tensor.shape, std::max<uint64_t>(element, 1), shape);
    check(element == 0 || bytes == tensor.end - tensor.begin, where_, ": ", offsets.path(), " must span the ",
          std::to_string(bytes), " bytes of ", tensor.dtype, " ", text_of(tensor.shape), ", got ",
          std::to_string(tensor.end - tensor.begin));
    tensors_.emplace(name, std::move(tensor));
  }
}

// No gaps and no overlaps: bytes that belong to no tensor could smuggle anything, shared ones are damage.
void SafeTensors::check_layout(uint64_t data_size) const {
  std::vector<const std::pair<const std::string, Tensor>*> by_place;
  for (const auto& entry : tensors_) by_place.push_back(&entry);
  std::sort(by_place.begin(), by_place.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t place = 0;
  for (const auto* entry : by_place) {
    check(entry->second.begin == place, where_, ": ", printable(entry->first), " must start at byte ",
          std::to_string(place), " of the data, where the tensor before it ends, got ",
          std::to_string(entry->second.begin));
    place = entry->second.end;
  }
  check(place == data_size, where_, ": tensors must fill the data, got ", std::to_string(place),
        " bytes of tensors in ", std::to_string(data_size), " bytes of data");
}

std::vector<std::string> SafeTensors::names() const {
  std::vector<std::string> names;
  for (const auto& entry : tensors_) names.push_back(entry.first);
  return names;
}

const SafeTensors::Tensor& SafeTensors::tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  check(found != tensors_.end(), where_, ": has no tensor ", printable(name), " among its ",
        std::to_string(tensors_.size()), "; is it the file of another model?");
  return found->second;
}

const std::vector<int64_t>& SafeTensors::shape(std::string_view name) const { return tensor(name).shape; }

std::vector<float> SafeTensors::floats(std::string_view name,
                                       const std::vector<int64_t>& expected_shape) const {
  const Tensor& source = tensor(name);
  const std::string subject = where_ + ": " + printable(name);
  check(source.shape == expected_shape, subject, " has shape ", text_of(source.shape), ", needed is ",
        text_of(expected_shape), "; is it the file of another model?");
  const std::string& dtype = source.dtype;
  check(dtype == "F32" || dtype == "F16" || dtype == "BF16" || dtype == "F64", subject,
        " must be F32, F16, BF16 or F64, got ", printable(dtype), "; save it in one of these");

  const uint64_t element = element_size(dtype);
  const char* const data = bytes_.data() + data_start_ + source.begin;
  std::vector<float> values(static_cast<size_t>((source.end - source.begin) / element));
  const auto fill = [&](auto float_bits) {
    for (size_t i = 0; i < values.size(); ++i) {
      const uint32_t bits = float_bits(data + i * element);
      check(finite(bits), subject,
            ": weights hold NaN or infinity; the checkpoint is damaged or training diverged");
      values[i] = same_bits<float>(bits);
    }
  };
  if (dtype == "F32") fill([](const char* at) { return little_endian<uint32_t>(at); });
  if (dtype == "F16") fill([](const char* at) { return half_to_float_bits(little_endian<uint16_t>(at)); });
  if (dtype == "BF16") fill([](const char* at) { return uint32_t{little_endian<uint16_t>(at)} << 16; });
  if (dtype == "F64") {
    fill([&](const char* at) -> uint32_t {
      const auto bits = little_endian<uint64_t>(at);
      if (!finite(bits)) return 0x7F800000u;  // infinity, for fill to refuse
      const double value = same_bits<double>(bits);
      check(std::fabs(value) <= FLT_MAX, subject, " must fit float32, got ", value);
      return same_bits<uint32_t>(static_cast<float>(value));
    });
  }
  return values;
}

}  // namespace ski_edge
