// Feeds bytes to both readers: with libFuzzer (clang++ -fsanitize=fuzzer,address,undefined), or, compiled
// with -DSKI_EDGE_FUZZ_CORPUS_RUN, as a program that damages good inputs at random: fuzz_readers [iterations]
// [seed]
#include <cstdlib>

#include "checks.h"
#include "engine/json.h"
#include "engine/safetensors.h"

using ski_edge::BadInput;
using ski_edge::Json;
using ski_edge::SafeTensors;

// Errors go to logs, HTTP and Python: one line, no control characters.
static void check_message(const BadInput& error) {
  for (const char* at = error.what(); *at; ++at)
    if (static_cast<unsigned char>(*at) < 0x20 || *at == 0x7F) std::abort();
}

static size_t visit(const Json& value) {
  size_t sum = value.path().size();
  const auto attempt = [&](auto read) {
    try {
      sum += static_cast<size_t>(read());
    } catch (const BadInput& error) {
      check_message(error);
    }
  };
  attempt([&] { return value.as_bool(); });
  attempt([&] { return value.as_number() > 0; });
  attempt([&] { return value.as_int(-5, 1'000'000) + 5; });
  attempt([&] { return value.as_string().size(); });
  attempt([&] { return value.find("x") != nullptr; });
  attempt([&] { return value.at("x").is_null(); });
  attempt([&] {
    for (const Json& child : value.as_array()) sum += visit(child);
    return 0;
  });
  attempt([&] {
    for (const auto& member : value.items()) sum += visit(member.second);
    return 0;
  });
  return sum;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  try {
    visit(ski_edge::parse_json({reinterpret_cast<const char*>(bytes), size}, "fuzz.json"));
  } catch (const BadInput& error) {
    check_message(error);
  }
  try {
    const SafeTensors file =
        SafeTensors::from_bytes({reinterpret_cast<const char*>(bytes), size}, "fuzz.safetensors");
    for (const std::string& name : file.names()) {
      try {
        file.floats(name, file.shape(name));
      } catch (const BadInput& error) {
        check_message(error);
      }
    }
  } catch (const BadInput& error) {
    check_message(error);
  }
  return 0;
}

#ifdef SKI_EDGE_FUZZ_CORPUS_RUN
int main(int count, char** arguments) {
  const long iterations = count > 1 ? std::atol(arguments[1]) : 200000;
  std::mt19937 random(count > 2 ? static_cast<unsigned>(std::atol(arguments[2])) : 1u);
  const std::string header =
      "{\"__metadata__\":{\"a\":\"b\"},\"x\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[0,8]},"
      "\"y\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[8,16]}}";
  const std::string manifest =
      "{\"x\": [1, -2.5e3, true, false, null, \"\\u00e9\\ud83c\\udfbf\\n\", \"\xC3\xA9\"], \"y\": {\"z\": "
      "{}}}";
  const std::string data(16, '\x01');
  const auto run = [](const std::string& bytes) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  };
  for (long i = 0; i < iterations; ++i) {
    if (i % 3 == 0) run(damaged(manifest, random));
    // The size field fits: damage reaches the checks behind it.
    if (i % 3 == 1) run(safetensors_file(damaged(header, random), damaged(data, random)));
    if (i % 3 == 2) run(damaged(safetensors_file(header, data), random));
  }
  std::printf("%ld inputs read or refused\n", iterations);
}
#endif
