#include "ski_edge/npy.h"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <limits>

#include "engine/files.h"
#include "engine/json.h"
#include "ski_edge/check.h"

namespace ski_edge {
namespace {

constexpr std::size_t kMagic = 8;           // bytes: "\x93NUMPY", version
constexpr std::size_t kMaxHeader = 65'535;  // numpy itself refuses more than 10000 by default
constexpr long kMaxAxis = std::numeric_limits<std::int32_t>::max();

struct Header {
  std::string dtype;
  bool fortran = false;
  std::vector<long> shape;
};

// The header is a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (64, 1, 25, 3), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Header parse() {
    Header header;
    int seen[3] = {};
    need('{');
    while (!take('}')) {
      const std::string key = quoted();
      need(':');
      if (key == "descr") {
        header.dtype = quoted(), ++seen[0];
      } else if (key == "fortran_order") {
        header.fortran = boolean(), ++seen[1];
      } else if (key == "shape") {
        header.shape = numbers(), ++seen[2];
      } else {
        fail();
      }
      if (!take(',') && peek() != '}') fail();
    }
    if (peek() != '\0' || seen[0] != 1 || seen[1] != 1 || seen[2] != 1) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const {
    refuse(where_, ": its header must be what numpy.save writes, got ", printable(text_, 120),
           "; save the array again");
  }
  char peek() {
    while (place_ < text_.size() && (text_[place_] == ' ' || text_[place_] == '\n')) ++place_;
    return place_ < text_.size() ? text_[place_] : '\0';
  }
  bool take(char wanted) {
    if (peek() != wanted || place_ == text_.size()) return false;
    ++place_;
    return true;
  }
  void need(char wanted) {
    if (!take(wanted)) fail();
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail();
    const std::size_t end = text_.find(quote, place_ + 1);
    if (end == std::string_view::npos) fail();
    const std::string out(text_.substr(place_ + 1, end - place_ - 1));
    place_ = end + 1;
    return out;
  }
  bool boolean() {
    const bool value = peek() == 'T';
    const std::string_view word = value ? "True" : "False";
    if (text_.substr(place_, word.size()) != word) fail();
    place_ += word.size();
    return value;
  }
  std::vector<long> numbers() {
    std::vector<long> out;
    need('(');
    while (!take(')')) {
      peek();
      long number = -1;
      const char* const end = text_.data() + text_.size();
      const auto [stop, error] = std::from_chars(text_.data() + place_, end, number);
      if (error != std::errc() || number < 0 || number > kMaxAxis || out.size() == 32) fail();
      out.push_back(number);
      place_ = static_cast<std::size_t>(stop - text_.data());
      if (!take(',') && peek() != ')') fail();
    }
    return out;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t place_ = 0;
};

std::uint64_t little_endian(const char* bytes, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i)
    value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

// The value of `size` bytes of kind f, i or u.
double number(const char* bytes, char kind, std::size_t size) {
  const std::uint64_t bits = little_endian(bytes, size);
  if (kind == 'u') return static_cast<double>(bits);
  if (kind == 'i') {  // the sign goes to the top and comes back with the shift
    const std::size_t unused = 64 - 8 * size;
    std::int64_t value;
    const std::uint64_t top = bits << unused;
    std::memcpy(&value, &top, sizeof(value));
    return static_cast<double>(value >> unused);
  }
  if (size == 8) {
    double value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }
  const auto word = static_cast<std::uint32_t>(bits);
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

// Elements of `shape`, which must need exactly `bytes`. Checked before anything is allocated.
std::size_t count_elements(const std::vector<long>& shape, std::size_t size, std::size_t bytes,
                           const std::string& where) {
  std::size_t count = 1;
  bool fits = true, empty = false;
  for (const long axis : shape) empty |= axis == 0;
  for (const long axis : shape) {
    if (empty || !fits) break;
    fits = count <= bytes / size / static_cast<std::size_t>(axis);
    count *= fits ? static_cast<std::size_t>(axis) : 1;
  }
  if (empty) count = 0;
  check(fits && count * size == bytes, where, ": its header and its ", std::to_string(bytes),
        " bytes of data do not fit each other; the file is cut off or damaged: copy it again");
  return count;
}

}  // namespace

Npy read_npy(const std::string& path) { return parse_npy(read_file(path, "array"), path); }

Npy parse_npy(std::string_view bytes, const std::string& where) {
  const auto is_npy = bytes.size() >= kMagic + 2 && bytes.substr(0, 6) == "\x93NUMPY";
  check(is_npy, where, ": must be a .npy file, it starts with \"", printable(bytes.substr(0, 8)),
        "\"; write it with numpy.save");
  const int version = static_cast<unsigned char>(bytes[6]);
  check(version >= 1 && version <= 3, where, ": .npy version must be 1, 2 or 3, got ", version);
  const std::size_t width = version == 1 ? 2 : 4;
  check(bytes.size() >= kMagic + width, where, ": ends in its header; copy it again");
  const std::uint64_t length = little_endian(bytes.data() + kMagic, width);
  check(length <= kMaxHeader && length <= bytes.size() - kMagic - width, where, ": claims a header of ",
        std::to_string(length), " bytes in a file of ", std::to_string(bytes.size()), "; copy it again");
  const Header header =
      HeaderParser(bytes.substr(kMagic + width, static_cast<std::size_t>(length)), where).parse();
  const std::string_view data = bytes.substr(kMagic + width + static_cast<std::size_t>(length));

  const std::string& dtype = header.dtype;
  const bool plain = dtype.size() == 3 && (dtype[0] == '<' || (dtype[0] == '|' && dtype[2] == '1'));
  const char kind = plain ? dtype[1] : '?';
  const std::size_t size = plain ? static_cast<std::size_t>(dtype[2] - '0') : 0;
  const bool known = kind == 'f'
                         ? size == 4 || size == 8
                         : (kind == 'i' || kind == 'u') && (size == 1 || size == 2 || size == 4 || size == 8);
  check(known, where, ": must hold little-endian float32, float64 or integers, got '", printable(dtype),
        "'; save array.astype('<f4')");
  check(!header.fortran, where,
        ": must be in C order, it is in Fortran order; save numpy.ascontiguousarray(array)");
  Npy out;
  out.values.resize(count_elements(header.shape, size, data.size(), where));
  for (std::size_t i = 0; i < out.values.size(); ++i)
    out.values[i] = number(data.data() + i * size, kind, size);
  out.shape = header.shape;
  return out;
}

}  // namespace ski_edge
