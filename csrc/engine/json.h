// JSON for manifests and safetensors headers: strict (RFC 8259), immutable, safe on hostile text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ski_edge/text.h"

namespace ski_edge {

// One value and all below it. Accessors throw BadInput that names the document and the path to the value:
//   manifest.json: skeleton.persons must be a whole number, got "two"
// References and pointers they return live as long as the Json they came from.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in the order of the text; keys differ

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool as_bool() const;
  double as_number() const;  // finite
  // A whole number with low <= number <= high. 2.0 and 2e3 are whole; beyond 2^53 only plain digits are.
  int64_t as_int(int64_t low, int64_t high) const;
  const std::string& as_string() const;  // UTF-8; may hold \u0000
  const Array& as_array() const;
  const Object& items() const;

  const Json& at(std::string_view key) const;    // must be there; may be null
  const Json* find(std::string_view key) const;  // nullptr where it is missing or null

  // "skeleton.persons", "shape[2]"; empty at the top. Shortened where the text makes it long.
  const std::string& path() const { return path_; }
  // Throws "<document>: <path> must be <what>, got <this value>"; for rules of the caller.
  [[noreturn]] void expected(const std::string& what) const;

 private:
  friend class JsonParser;
  struct Number {
    double value;
    std::optional<int64_t> whole;  // exact
  };

  Json(std::shared_ptr<const std::string> where, std::string path)
      : where_(std::move(where)), path_(std::move(path)) {}
  std::string subject() const;      // "manifest.json: skeleton.persons"
  std::string description() const;  // of the value, short

  std::variant<std::monostate, bool, Number, std::string, Array, Object> value_;
  std::shared_ptr<const std::string> where_;  // shared by all values of a document
  std::string path_;
};

// Parses one document. `where` names it in errors. Refuses duplicate keys, text that is not UTF-8, lone
// surrogates, numbers beyond double, more than 64 levels and more than a million values.
Json parse_json(std::string_view text, const std::string& where);

}  // namespace ski_edge
