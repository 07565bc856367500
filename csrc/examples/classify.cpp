// classify BUNDLE SKELETON.npy: what a device without Python needs to name an activity. Copy it.
//
//   read_bundle    the folder that `ski-edge export` wrote: labels, weights, how a clip must look
//   prepare        joints in metres [T, M, V, 3] -> the network's input
//   Engine::run    input -> one logit for each label
#include <ski_edge/bundle.h>
#include <ski_edge/check.h>
#include <ski_edge/engine.h>
#include <ski_edge/npy.h>
#include <ski_edge/prepare.h>
#include <ski_edge/text.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <numeric>
#include <string>
#include <vector>

namespace {

constexpr const char* kUsage =
    "usage: classify BUNDLE SKELETON.npy [--threads N] [--isa NAME] [--top K]\n"
    "\n"
    "Prints the most likely labels of a skeleton sequence and their scores.\n"
    "  BUNDLE         folder that ski-edge export wrote\n"
    "  SKELETON.npy   joints in metres, [T, M, V, 3]; a missing body is all zeros\n"
    "  --threads N    0 (default): one for each CPU this process may use\n"
    "  --isa NAME     instruction set (a wrong name lists them); default: the fastest that runs here\n"
    "  --top K        labels to print, default 5\n";

struct Arguments {
  std::vector<std::string> paths;
  ski_edge::EngineOptions engine;
  int top = 5;
};

int whole_number(const std::string& option, const std::string& text, int low) {
  int value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  ski_edge::check(error == std::errc() && stop == end && value >= low, option,
                  " must be a whole number of at least ", low, ", got '", text, "'");
  return value;
}

Arguments parse(const std::vector<std::string>& words) {
  Arguments out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.empty() || word[0] != '-') {
      out.paths.push_back(word);
      continue;
    }
    ski_edge::check(word == "--threads" || word == "--isa" || word == "--top", "option ", word,
                    " is not known; see classify --help");
    ski_edge::check(++i < words.size(), word, " needs a value; see classify --help");
    if (word == "--threads") out.engine.threads = whole_number(word, words[i], 0);
    if (word == "--isa") out.engine.isa = ski_edge::parse_isa(words[i]);
    if (word == "--top") out.top = whole_number(word, words[i], 1);
  }
  ski_edge::check(out.paths.size() == 2, "needs a bundle and a skeleton, got ", out.paths.size(),
                  " paths; see classify --help");
  return out;
}

std::vector<float> softmax(const std::vector<float>& logits) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  std::vector<float> scores;
  for (const float logit : logits) scores.push_back(std::exp(logit - highest));
  const float sum = std::accumulate(scores.begin(), scores.end(), 0.0f);
  for (float& score : scores) score /= sum;
  return scores;
}

void classify(const Arguments& arguments) {
  const ski_edge::Bundle bundle = ski_edge::read_bundle(arguments.paths[0]);
  const ski_edge::Npy skeleton = ski_edge::read_npy(arguments.paths[1]);
  ski_edge::check_shape(skeleton.shape, bundle.skeleton);
  const std::vector<float> clip =
      ski_edge::prepare(skeleton.values.data(), skeleton.shape[0], skeleton.shape[1], bundle.skeleton);
  const ski_edge::ClipView input = ski_edge::clip_view(clip, bundle.skeleton);

  const auto opened = std::chrono::steady_clock::now();
  ski_edge::Engine engine(bundle.weights_path, bundle.network, arguments.engine);
  const std::chrono::duration<double, std::milli> load = std::chrono::steady_clock::now() - opened;
  std::vector<float> logits(bundle.labels.size());
  engine.run(input, logits.data(), nullptr);  // the first run makes the buffers: not the one to time
  const auto start = std::chrono::steady_clock::now();
  engine.run(input, logits.data(), nullptr);
  const std::chrono::duration<double, std::milli> latency = std::chrono::steady_clock::now() - start;
  for (const float logit : logits) {
    ski_edge::check(std::isfinite(logit), "the network's answer is not a number; is ", arguments.paths[1],
                    " in metres?");
  }

  const std::vector<float> scores = softmax(logits);
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  order.resize(std::min(order.size(), static_cast<std::size_t>(arguments.top)));
  for (const std::size_t i : order) std::printf("%.6f  %s\n", scores[i], bundle.labels[i].c_str());
  ski_edge::check(std::fflush(stdout) == 0, "the labels cannot be written to stdout; is the disk full?");
  rusage used{};
  getrusage(RUSAGE_SELF, &used);  // Linux counts kilobytes
  std::fprintf(stderr, "network: %.3f ms (%s, %d %s); loaded in %.1f ms, %.1f MB at most\n", latency.count(),
               ski_edge::name(engine.isa()), engine.threads(), engine.threads() == 1 ? "thread" : "threads",
               load.count(), static_cast<double>(used.ru_maxrss) / 1e3);
}

}  // namespace

int main(int count, char** words) {
  try {
    for (int i = 1; i < count; ++i) {
      if (std::strcmp(words[i], "--help") == 0 || std::strcmp(words[i], "-h") == 0)
        return std::fputs(kUsage, stdout) < 0 ? 2 : 0;
    }
    classify(parse({words + 1, words + count}));
    return 0;
  } catch (const std::exception& error) {
    // A path or a file may have put anything into the message; a terminal gets one line.
    std::fprintf(stderr, "error: %s\n", ski_edge::printable(error.what(), 1000).c_str());
  } catch (...) {
    std::fputs("error: stopped by something that is no std::exception; please report it\n", stderr);
  }
  return 2;
}
