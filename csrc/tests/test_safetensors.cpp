// Weights: values arrive exactly, and a damaged or foreign file is one clear line, never wrong numbers.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "checks.h"
#include "engine/safetensors.h"

using ski_edge::BadInput;
using ski_edge::SafeTensors;
using Shape = std::vector<int64_t>;

// The low `count` bytes, as the format wants them on every machine.
static std::string little(uint64_t bits, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<char>(bits >> (8 * i) & 0xFF));
  return bytes;
}
static std::string f32(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return little(bits, 4);
}
static std::string f64(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, 8);
  return little(bits, 8);
}

static SafeTensors read(const std::string& header, const std::string& data) {
  return SafeTensors::from_bytes(safetensors_file(header, data), "w");
}
static void refuses(const std::string& header, size_t data_bytes, const std::string& part, const char* what) {
  throws([&] { read(header, std::string(data_bytes, '\0')); }, "w: " + part, what);
}
// One tensor "x".
static std::string header_of(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"x\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}
static float half(unsigned bits) {
  return read(header_of("F16", "[]", "[0,2]"), little(bits, 2)).floats("x", {})[0];
}

static const char* kHeader =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"fc.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"bn.count\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]},"
    "\"none\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[28,28]},"
    "\"fc.bias\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[24,28]},"
    "\"d\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[36,44]}}    ";

static std::string data() {
  std::string bytes;
  for (int i = 0; i < 6; ++i) bytes += f32(0.25f * static_cast<float>(i) - 1);
  return bytes + little(0x3F80, 2) + little(0xC0A0, 2) + little(7, 8) + f64(0.1);
}

static void test_values() {
  const SafeTensors file = read(kHeader, data());
  expect(file.names() == std::vector<std::string>{"bn.count", "d", "fc.bias", "fc.weight", "none"}, "names");
  expect(file.has("fc.bias") && !file.has("__metadata__") && !file.has("fc"), "has");
  expect(file.shape("fc.weight") == Shape{2, 3} && file.shape("bn.count").empty(), "shapes");
  expect(file.floats("fc.weight", {2, 3}) == std::vector<float>{-1, -.75f, -.5f, -.25f, 0, .25f}, "F32");
  expect(file.floats("fc.bias", {2}) == std::vector<float>{1, -5}, "BF16");
  expect(file.floats("d", {1}) == std::vector<float>{0.1f}, "F64 is rounded");
  expect(file.floats("none", {0, 4}).empty(), "no elements");
  throws([&] { file.floats("fc.weight", {3, 2}); }, "w: fc.weight has shape [2, 3], needed is [3, 2]",
         "shape");
  throws([&] { file.floats("bn.count", {}); }, "w: bn.count must be F32, F16, BF16 or F64, got I64", "dtype");
  throws([&] { file.floats("head\n", {}); }, "w: has no tensor head\\x0a among its 5", "missing tensor");
  throws([&] { file.shape("head"); }, "w: has no tensor head", "shape of a missing tensor");
  expect(read("{}", "").names().empty() && read("{\"__metadata__\":{}}  ", "").names().empty(),
         "empty files");
}

static void test_halves() {
  expect(half(0x3C00) == 1 && half(0xC000) == -2 && half(0x7BFF) == 65504, "half: normal");
  expect(half(0x0400) == 0x1p-14f && half(0x3555) == 0x1.554p-2f, "half: smallest normal, a third");
  expect(half(0x0001) == 0x1p-24f && half(0x83FF) == -0x1.ff8p-15f && half(0x0200) == 0x1p-15f,
         "half: subnormal");
  expect(half(0x0000) == 0 && half(0x8000) == 0 && std::signbit(half(0x8000)), "half: zeros");
  bool all = true;
  for (unsigned bits = 0; bits < 0x7C00; bits += 7) {
    const int exponent = static_cast<int>(bits >> 10), fraction = bits & 0x3FF;
    const double truth = exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
    all = all && half(bits) == truth && half(bits | 0x8000) == -truth;
  }
  expect(all, "half: every seventh value");
}

static void test_not_finite() {
  const char* part = "w: x: weights hold NaN or infinity; the checkpoint is damaged or training diverged";
  const auto one = [](const char* dtype, const std::string& bytes) {
    return read(header_of(dtype, "[]", "[0," + std::to_string(bytes.size()) + "]"), bytes).floats("x", {})[0];
  };
  for (const unsigned bits : {0x7C00u, 0xFC00u, 0x7C01u, 0x7E00u}) throws([&] { half(bits); }, part, "half");
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    throws([&] { one("F32", f32(bad)); }, part, "F32");
    throws([&] { one("F64", f64(bad)); }, part, "F64");
  }
  throws([&] { one("BF16", little(0x7F80, 2)); }, part, "BF16");
  throws([&] { one("F64", f64(-1e39)); }, "w: x must fit float32, got -1e+39", "F64 beyond float");
  expect(one("F64", f64(3.4028234663852886e38)) == 3.4028234663852886e38f, "F64 as large as float");
  expect(one("F64", f64(1e-60)) == 0, "F64 below float is 0");
  expect(one("F32", little(1, 4)) > 0, "F32 subnormal");
}

static void test_bad_headers() {
  const std::string twice = "9223372036854775807";
  refuses(header_of("F32", "[2]", "[0,4]"), 4, "x.data_offsets must span the 8 bytes of F32 [2], got 4",
          "size");
  refuses(header_of("F32", "[2]", "[0,8]"), 4, "x.data_offsets must stay within the 4 bytes of data",
          "cut data");
  refuses(header_of("F32", "[1]", "[0,4]"), 5, "tensors must fill the data, got 4 bytes of tensors in 5",
          "rest");
  refuses(header_of("F32", "[1]", "[4,8]"), 8, "x must start at byte 0 of the data", "gap");
  refuses(header_of("F32", "[1]", "[4,0]"), 8, "x.data_offsets[1] must be a whole number from 4",
          "backwards");
  refuses(header_of("F32", "[1]", "[-4,0]"), 8, "x.data_offsets[0] must be a whole number from 0",
          "negative");
  refuses(header_of("F32", "[1]", "[0]"), 4, "x.data_offsets must be an array of 2, got an array of 1",
          "one offset");
  refuses(header_of("F32", "[1.5]", "[0,4]"), 4, "x.shape[0] must be a whole number, got 1.5", "fraction");
  refuses(header_of("F32", "[-1]", "[0,4]"), 4, "x.shape[0] must be a whole number from 0",
          "negative length");
  refuses(header_of("F32", "[4294967296,4294967296]", "[0,0]"), 0, "x.shape must be a shape of less",
          "2^64 wraps");
  refuses(header_of("F32", "[" + twice + "," + twice + ",0]", "[0,0]"), 0, "x.shape must be a shape",
          "zero hides");
  refuses(header_of("Q9", "[" + twice + ",2]", "[0,0]"), 0, "x.shape must be a shape",
          "unknown dtype, wraps");
  refuses("{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "x.data_offsets is missing", "no offsets");
  refuses("{\"x\":7}", 0, "x must be an object, got 7", "entry");
  refuses("[]", 0, "its header must start with '{', got \"[]\"", "array");
  refuses(" {}", 0, "its header must start with '{'", "blank first");
  refuses("", 0, "its header must start with '{'", "no header");
  const std::string two = header_of("F32", "[1]", "[0,4]");
  refuses(two.substr(0, two.size() - 1) + ",\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
          6, "y must start at byte 4 of the data, where the tensor before it ends, got 2", "overlap");
  const SafeTensors later = read(header_of("F8_E4M3", "[3]", "[0,3]"), "abc");
  throws([&] { later.floats("x", {3}); }, "w: x must be F32, F16, BF16 or F64, got F8_E4M3", "later dtype");

  throws([] { SafeTensors::from_bytes("abc", "w"); }, "w: must be a safetensors file, got only 3", "3 bytes");
  const std::string huge(16, '\xFF');
  throws([&] { SafeTensors::from_bytes(huge, "w"); }, "w: claims a header of 18446744073709551615 bytes",
         "2^64");
}

static void test_files() {
  const auto folder =
      std::filesystem::temp_directory_path() / ("ski_edge_" + std::to_string(std::random_device{}()));
  std::filesystem::create_directory(folder);
  const std::string path = (folder / "w.safetensors").string();
  const std::string good = safetensors_file(kHeader, data());
  const auto write = [&](const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; };
  write(good);
  expect(SafeTensors::open(path).floats("fc.bias", {2})[1] == -5, "a file on disk");
  write("");
  throws([&] { SafeTensors::open(path); }, path + ": must be a safetensors file, got only 0 bytes",
         "empty file");
  throws([&] { SafeTensors::open(folder.string()); }, "must be a file, it is a folder or a device",
         "a folder");
  throws([&] { SafeTensors::open(path + "x"); }, "weights " + path + "x does not exist", "no file");
  std::filesystem::remove_all(folder);
}

// Reads everything a file offers; false if it is refused.
static bool readable(const std::string& bytes) {
  try {
    const SafeTensors file = SafeTensors::from_bytes(bytes, "w");
    for (const std::string& name : file.names()) file.floats(name, file.shape(name));
  } catch (const BadInput&) {
    return false;
  }
  return true;
}

static void test_damage() {
  std::string header = kHeader;
  header.replace(header.find("I64"), 3, "F64");
  const std::string values = data();
  const std::string good = safetensors_file(header, values);
  expect(readable(good), "the file to damage is good");
  int read = 0;
  for (size_t length = 0; length < good.size(); ++length) read += readable(good.substr(0, length));
  expect(read == 0, "no truncation is read");

  std::mt19937 random(1);
  int flips_read = 0, headers_read = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    char& flipped = bytes[random() % (8 + header.size())];
    flipped = static_cast<char>(flipped ^ 1 << random() % 8);
    flips_read += readable(bytes);
    headers_read += readable(safetensors_file(damaged(header, random), values));
  }
  std::printf("      of 3000: %d read with a flipped bit, %d with a damaged header\n", flips_read,
              headers_read);
  expect(flips_read < 3000 && headers_read < 3000, "damaged headers are read or refused");
}

int main() {
  test_values();
  test_halves();
  test_not_finite();
  test_bad_headers();
  test_files();
  test_damage();
  return summary();
}
