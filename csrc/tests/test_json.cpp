// Manifests are read on devices that nobody watches: good text reads exactly, any other text is one clear
// line.
#include <limits>

#include "checks.h"
#include "engine/json.h"

using ski_edge::BadInput;
using ski_edge::Json;
using ski_edge::parse_json;

static Json parse(const std::string& text) { return parse_json(text, "m.json"); }

static void refuses(const std::string& text, const std::string& part, const char* what) {
  throws([&] { parse(text); }, "m.json: " + part, what);
}

static const char* kManifest =
    "{\"task\": \"classify\", \"skeleton\": {\"persons\": 2, \"scale\": 1.5e-3, \"mirror\": true, \"note\": "
    "null},\n"
    " \"shape\": [1, 3, 64, 25], \"label\": \"\\u00e9\\ud83c\\udfbf \\\"ski\\\"\\n\"}";

static void test_values() {
  const Json m = parse(kManifest);
  const Json& skeleton = m.at("skeleton");
  expect(m.at("task").as_string() == "classify", "string");
  expect(skeleton.at("persons").as_int(1, 2) == 2, "whole number");
  expect(skeleton.at("persons").as_number() == 2.0, "whole number as double");
  expect(skeleton.at("scale").as_number() == 1.5e-3, "number");
  expect(skeleton.at("mirror").as_bool(), "true");
  expect(skeleton.at("note").is_null() && skeleton.find("note") == nullptr, "null is found by at() only");
  expect(m.find("nothing") == nullptr && m.find("task") != nullptr, "find");
  expect(m.at("shape").as_array().size() == 4 && m.at("shape").as_array()[3].as_int(0, 99) == 25, "array");
  expect(m.at("label").as_string() == "\u00e9\U0001F3BF \"ski\"\n", "escapes and surrogates");
  expect(m.items().size() == 4 && m.items()[0].first == "task" && m.items()[3].first == "label",
         "order is kept");
  expect(m.at("shape").as_array()[2].path() == "shape[2]", "path");
  const Json copy = skeleton;
  expect(copy.at("persons").path() == "skeleton.persons", "a copy stands alone");
  expect(parse(" [ ] ").as_array().empty() && parse("{\t}\r\n").items().empty(), "empty containers");
  expect(parse("\"\\b\\f\\r\\t\\/\\\\\"").as_string() == "\b\f\r\t/\\", "short escapes");
  expect(parse("\"a\\u0000b\"").as_string() == std::string("a\0b", 3), "NUL is a character");
}

static void test_numbers() {
  const int64_t low = std::numeric_limits<int64_t>::min(), high = std::numeric_limits<int64_t>::max();
  expect(parse("9223372036854775807").as_int(low, high) == high, "largest int64 is exact");
  expect(parse("-9223372036854775808").as_int(low, high) == low, "smallest int64 is exact");
  expect(parse("9007199254740993").as_int(low, high) == 9007199254740993, "2^53 + 1 is exact");
  expect(parse("2.0").as_int(0, 9) == 2 && parse("2e3").as_int(0, 9999) == 2000, "2.0 and 2e3 are whole");
  expect(parse("-0").as_int(0, 0) == 0 && parse("-0.5E+1").as_number() == -5.0, "signs");
  expect(parse("0.1").as_number() == 0.1 && parse("1e-400").as_number() == 0.0, "nearest double");
  throws([&] { parse("9223372036854775808").as_int(low, high); }, "must be a whole number from",
         "2^63 is none");
  throws([&] { parse("1e300").as_int(low, high); }, "must be a whole number from", "1e300 is none");
  throws([] { parse("2.5").as_int(0, 9); }, "m.json: the top level must be a whole number, got 2.5",
         "2.5 is none");
  for (const char* text :
       {"01", "-", "+1", "1.", ".5", "1e", "1e+", "0x10", "1e999", "-1e999", "NaN", "Infinity"})
    throws([&] { parse(text); }, "m.json: line 1, column ", text);
}

static void test_accessor_errors() {
  const Json m = parse(
      "{\"skeleton\": {\"persons\": \"two\", \"joints\": 25}, \"files\": [{\"sha256\": 7}], \"a\": {}}");
  const Json& skeleton = m.at("skeleton");
  throws([&] { skeleton.at("persons").as_int(1, 2); },
         "m.json: skeleton.persons must be a whole number, got \"two\"", "kind");
  throws([&] { skeleton.at("joints").as_int(1, 20); },
         "m.json: skeleton.joints must be a whole number from 1 to 20, got 25", "range");
  throws([&] { skeleton.at("layout"); }, "m.json: skeleton.layout is missing", "missing");
  throws([&] { m.at("files").as_array()[0].at("sha256").as_string(); },
         "m.json: files[0].sha256 must be a string, got 7", "path through an array");
  throws([&] { m.at("a").as_array(); }, "a must be an array, got an object of 0", "array");
  throws([&] { m.as_bool(); }, "the top level must be true or false, got an object of 3", "bool");
  throws([&] { m.at("files").items(); }, "files must be an object, got an array of 1", "object");
  throws([&] { m.at("files").find("x"); }, "files must be an object", "find in an array");
  throws([&] { parse("[null]").as_array()[0].as_number(); }, "[0] must be a number, got null", "number");
  throws([&] { skeleton.at("persons").expected("1 or 2"); }, "skeleton.persons must be 1 or 2, got \"two\"",
         "rule of the caller");
  throws([] { parse("{\"a\\nb\\u009b\": 1}").at("a\nb\u009b").as_string(); }, "a\\x0ab\\xc2\\x9b must be",
         "control characters do not reach the message");
}

static void test_bad_text() {
  refuses("", "line 1, column 1: expected a value, got the end of the text", "empty");
  refuses("{\"a\": 1,\n \"a\" 2}", "line 2, column 6: expected ':', got \"2}\"", "place");
  refuses("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "b has the key \"c\" twice", "duplicate key");
  refuses("{\"a\": 1, \"\\u0061\": 1}", "the top level has the key \"a\" twice", "duplicate key, escaped");
  refuses("{\"a\": 1,}", "line 1, column 9: expected a key", "trailing comma in an object");
  refuses("[1,]", "line 1, column 4: expected a value", "trailing comma in an array");
  refuses("[1 2]", "line 1, column 4: expected ',' or ']'", "missing comma");
  refuses("{} {}", "line 1, column 4: expected the end", "second document");
  refuses("// no\n{}", "line 1, column 1: expected a value", "comment");
  refuses("\xEF\xBB\xBF{}", "line 1, column 1: starts with a byte order mark", "byte order mark");
  refuses(std::string("{}\0", 3), "line 1, column 3: expected the end of the text, got \"\\x00\"", "NUL");
  for (const char* text :
       {"\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\ud800\\ud800\"", "\"\\ud83cx\""})
    refuses(text, "line 1, column 2: surrogates must come in pairs", text);
  for (const char* text : {"\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u-123\"", "\"\\", "\"\\u12"})
    refuses(text, "line 1, column 3: unknown escape", text);
  for (const char* text :
       {"\"\x80\"", "\"\xC0\xAF\"", "\"\xE0\x80\x80\"", "\"\xED\xA0\x80\"", "\"\xF0\x80\x80\x80\"",
        "\"\xF4\x90\x80\x80\"", "\"\xF5\x80\x80\x80\"", "\"\xE2\x82\"", "\"\xFF\""})
    refuses(text, "line 1, column 2: strings must be UTF-8", "broken UTF-8");
  refuses("\"a\nb\"", "line 1, column 3: control characters", "raw newline in a string");
  refuses("tru", "line 1, column 1: expected a value, got \"tru\"", "cut word");
}

static void test_limits() {
  const auto nested = [](int n) { return std::string(n, '[') + std::string(n, ']'); };
  expect(parse(nested(64)).as_array().size() == 1, "64 levels");
  refuses(nested(65), "line 1, column 65: nested deeper than 64 levels", "65 levels");
  refuses(std::string(1'000'000, '['), "line 1, column 65: nested deeper", "a million brackets");
  std::string many = "[0";
  for (int i = 0; i < 1'000'000; ++i) many += ",0";
  refuses(many + "]", "line 1, column 2000000: more than a million values", "a million values");

  // Long keys on every level must not make paths, and so memory, grow without bound.
  std::string deep = "{\"end\": 0}";
  for (int i = 0; i < 50; ++i) deep = "{\"" + std::string(1000, 'k') + "\": " + deep + "}";
  const Json root = parse(deep);
  const Json* at = &root;
  for (int i = 0; i < 50; ++i) at = &at->items()[0].second;
  expect(at->at("end").path().size() < 250, "paths stay short");
}

static void test_damage() {
  const std::string good = kManifest;
  int parsed = 0;
  for (size_t length = 0; length < good.size(); ++length) {
    try {
      parse(good.substr(0, length)), ++parsed;
    } catch (const BadInput&) {
    }
  }
  expect(parsed == 0, "no truncation parses");
  std::mt19937 random(1);
  int refused = 0, several_lines = 0;
  for (int i = 0; i < 5000; ++i) {
    try {
      parse(damaged(good, random)), ++parsed;
    } catch (const BadInput& error) {
      ++refused;
      several_lines += std::string(error.what()).find_first_of(std::string("\n\r\0", 3)) != std::string::npos;
    }
  }
  expect(parsed > 0 && refused > 0 && parsed + refused == 5000, "damaged text parses or is refused");
  expect(several_lines == 0, "every refusal is one line");
}

int main() {
  test_values();
  test_numbers();
  test_accessor_errors();
  test_bad_text();
  test_limits();
  test_damage();
  return summary();
}
