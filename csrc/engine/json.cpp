#include "engine/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <locale>
#include <sstream>

#include "ski_edge/check.h"

namespace ski_edge {
namespace {

constexpr int kMaxDepth = 64;             // parsing and destruction recurse; this bounds the stack
constexpr size_t kMaxValues = 1'000'000;  // a value takes some 100 bytes, its text may take 2
constexpr size_t kMaxPath = 150;          // every value stores its path: long keys must not multiply
constexpr double kMaxExact = 0x1p53;      // doubles up to here hold every whole number
constexpr std::string_view kBlanks = " \t\r\n";

void append_utf8(std::string& out, uint32_t code) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  const auto tail = [&](int shift) { put(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6)), tail(0);
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12)), tail(6), tail(0);
  } else {
    put(0xF0 | (code >> 18)), tail(12), tail(6), tail(0);
  }
}

std::string child_path(const std::string& parent, const std::string& step) {
  if (parent.size() <= kMaxPath)
    return parent.empty() || step[0] == '[' ? parent + step : parent + "." + step;
  const bool marked = parent.compare(parent.size() - 3, 3, "...") == 0;
  return marked ? parent : parent + "...";
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string Json::subject() const {
  return *where_ + ": " + (path_.empty() ? std::string("the top level") : path_);
}

std::string Json::description() const {
  if (const auto* flag = std::get_if<bool>(&value_)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<Number>(&value_)) {
    if (number->whole) return std::to_string(*number->whole);
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text.precision(15);
    text << number->value;
    return text.str();
  }
  if (const auto* text = std::get_if<std::string>(&value_)) return '"' + printable(*text, 40) + '"';
  if (const auto* array = std::get_if<Array>(&value_)) return "an array of " + std::to_string(array->size());
  if (const auto* object = std::get_if<Object>(&value_))
    return "an object of " + std::to_string(object->size());
  return "null";
}

void Json::expected(const std::string& what) const {
  refuse(subject(), " must be ", what, ", got ", description());
}

bool Json::as_bool() const {
  if (const auto* flag = std::get_if<bool>(&value_)) return *flag;
  expected("true or false");
}

double Json::as_number() const {
  if (const auto* number = std::get_if<Number>(&value_)) return number->value;
  expected("a number");
}

int64_t Json::as_int(int64_t low, int64_t high) const {
  const auto* number = std::get_if<Number>(&value_);
  const bool huge = number != nullptr && std::fabs(number->value) > kMaxExact;  // whole, but not exact
  if (number == nullptr || (!number->whole && !huge)) expected("a whole number");
  if (number->whole && *number->whole >= low && *number->whole <= high) return *number->whole;
  expected("a whole number from " + std::to_string(low) + " to " + std::to_string(high));
}

const std::string& Json::as_string() const {
  if (const auto* text = std::get_if<std::string>(&value_)) return *text;
  expected("a string");
}

const Json::Array& Json::as_array() const {
  if (const auto* array = std::get_if<Array>(&value_)) return *array;
  expected("an array");
}

const Json::Object& Json::items() const {
  if (const auto* object = std::get_if<Object>(&value_)) return *object;
  expected("an object");
}

const Json& Json::at(std::string_view key) const {
  for (const auto& [name, value] : items())
    if (name == key) return value;
  refuse(*where_, ": ", child_path(path_, printable(key)), " is missing");
}

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : items())
    if (name == key) return value.is_null() ? nullptr : &value;
  return nullptr;
}

// Recursive descent; every function starts at its first character and ends after its last.
class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& where)
      : text_(text), where_(std::make_shared<const std::string>(where)) {}

  Json document() {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") fail("starts with a byte order mark; save it as plain UTF-8");
    Json root = value("", 0);
    skip_blanks();
    if (pos_ != text_.size()) fail("expected the end of the text");
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& rule) const {
    const std::string_view before = text_.substr(0, pos_);
    const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
    const std::string got =
        pos_ == text_.size() ? "the end of the text" : '"' + printable(text_.substr(pos_, 64), 16) + '"';
    refuse(*where_, ": line ", std::to_string(1 + std::count(before.begin(), before.end(), '\n')),
           ", column ", std::to_string(pos_ - line_start + 1), ": ", rule, ", got ", got);
  }

  char peek() const { return pos_ < text_.size() ? text_[pos_] : '\0'; }

  void skip_blanks() { pos_ = std::min(text_.find_first_not_of(kBlanks, pos_), text_.size()); }

  bool take(std::string_view word) {
    const bool here = text_.substr(pos_, word.size()) == word;
    if (here) pos_ += word.size();
    return here;
  }

  Json value(std::string path, int depth) {
    skip_blanks();
    if (++values_ > kMaxValues) fail("more than a million values");
    Json out(where_, std::move(path));
    const char first = peek();
    if (first == '{' || first == '[') {
      if (depth == kMaxDepth) fail("nested deeper than 64 levels");
      if (first == '{')
        object(out, depth + 1);
      else
        array(out, depth + 1);
    } else if (first == '"') {
      out.value_ = string();
    } else if (first == '-' || is_digit(first)) {
      out.value_ = number();
    } else if (take("true")) {
      out.value_ = true;
    } else if (take("false")) {
      out.value_ = false;
    } else if (!take("null")) {
      fail("expected a value");  // Python writes NaN and Infinity; JSON has neither
    }
    return out;
  }

  void array(Json& out, int depth) {
    Json::Array values;
    ++pos_;
    skip_blanks();
    if (!take("]")) {
      do {
        values.push_back(value(child_path(out.path_, "[" + std::to_string(values.size()) + "]"), depth));
        skip_blanks();
      } while (take(","));
      if (!take("]")) fail("expected ',' or ']'");
    }
    out.value_ = std::move(values);
  }

  void object(Json& out, int depth) {
    Json::Object members;
    ++pos_;
    skip_blanks();
    if (!take("}")) {
      do {
        skip_blanks();
        if (peek() != '"') fail("expected a key in quotes");
        std::string key = string();
        skip_blanks();
        if (!take(":")) fail("expected ':'");
        std::string path = child_path(out.path_, printable(key));
        members.emplace_back(std::move(key), value(std::move(path), depth));
        skip_blanks();
      } while (take(","));
      if (!take("}")) fail("expected ',' or '}'");
    }
    out.value_ = std::move(members);
    refuse_duplicates(out);
  }

  // Two readers that disagree on which duplicate wins see two different files.
  static void refuse_duplicates(const Json& object) {
    std::vector<std::string_view> keys;  // sorted rather than hashed: no input makes this quadratic
    for (const auto& member : object.items()) keys.push_back(member.first);
    std::sort(keys.begin(), keys.end());
    const auto twin = std::adjacent_find(keys.begin(), keys.end());
    if (twin != keys.end()) refuse(object.subject(), " has the key \"", printable(*twin), "\" twice");
  }

  std::string string() {
    std::string out;
    ++pos_;
    while (peek() != '"') {
      if (pos_ == text_.size()) fail("expected '\"' at the end of the string");
      if (static_cast<unsigned char>(peek()) < 0x20) fail("control characters in strings must be escaped");
      if (peek() == '\\') {
        escape(out);
        continue;
      }
      const size_t length = utf8_length(text_.substr(pos_));
      if (length == 0) fail("strings must be UTF-8");
      out.append(text_.substr(pos_, length));
      pos_ += length;
    }
    ++pos_;
    return out;
  }

  void escape(std::string& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const size_t start = pos_++;
    const size_t letter = kLetters.find(peek());
    if (pos_ < text_.size() && letter != std::string_view::npos) {
      out.push_back(kMeanings[letter]);
      ++pos_;
      return;
    }
    uint32_t code = utf16_unit();
    if (code >= 0xD800 && code < 0xE000) {  // characters beyond U+FFFF come as a high and a low surrogate
      const uint32_t low = code < 0xDC00 && take("\\") ? utf16_unit() : 0;
      if (low < 0xDC00 || low >= 0xE000) {
        pos_ = start;
        fail("surrogates must come in pairs");
      }
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, code);
  }

  // What follows the backslash: u and four hex digits.
  uint32_t utf16_unit() {
    const std::string_view hex = text_.substr(std::min(pos_ + 1, text_.size()), 4);
    uint32_t code = 0;
    const auto read = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    if (peek() != 'u' || hex.size() != 4 || read.ptr != hex.data() + 4) fail("unknown escape in a string");
    pos_ += 5;
    return code;
  }

  void digits() {
    if (!is_digit(peek())) fail("expected a digit");
    while (is_digit(peek())) ++pos_;
  }

  Json::Number number() {
    const size_t start = pos_;
    take("-");
    if (!take("0")) digits();  // no leading zeros: what follows a 0 is not a digit of this number
    const size_t whole_end = pos_;
    if (take(".")) digits();
    if (take("e") || take("E")) {
      if (!take("+")) take("-");
      digits();
    }
    const std::string_view token = text_.substr(start, pos_ - start);
    int64_t whole = 0;
    if (pos_ == whole_end &&
        std::from_chars(token.data(), token.data() + token.size(), whole).ec == std::errc())
      return {static_cast<double>(whole), whole};

    // A stream, as strtod follows the locale of the process and GCC before 11 has no from_chars for double.
    std::istringstream stream{std::string(token)};
    stream.imbue(std::locale::classic());
    double value = 0;
    if (!(stream >> value) || !std::isfinite(value)) {
      pos_ = start;
      fail("numbers must fit a double");
    }
    if (pos_ != whole_end && std::fabs(value) <= kMaxExact && value == std::floor(value))
      return {value, static_cast<int64_t>(value)};
    return {value, std::nullopt};
  }

  std::string_view text_;
  std::shared_ptr<const std::string> where_;
  size_t pos_ = 0;
  size_t values_ = 0;
};

Json parse_json(std::string_view text, const std::string& where) {
  return JsonParser(text, where).document();
}

}  // namespace ski_edge
