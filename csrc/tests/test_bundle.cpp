// Bundles: read whole, every damage one clear line. SHA-256 by the vectors of NIST.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "checks.h"
#include "engine/sha256.h"
#include "ski_edge/bundle.h"

using namespace ski_edge;
namespace fs = std::filesystem;

static void test_sha256() {
  expect(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "nothing");
  expect(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "abc");
  expect(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
         "56 bytes: the length needs a block of its own");
  expect(sha256(std::string(1'000'000, 'a')) ==
             "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
         "a million bytes");
}

// A bundle of three joints; weights are not read here, so they may be anything.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("ski_edge_test_bundle_" + std::to_string(getpid()));
  std::string weights = "weights",
              labels = R"([{"name": "wave", "prompts": []}, {"name": "clap", "prompts": []}])";
  std::string manifest = R"({"schema_version": 1, "task": "skeleton", "model": "ctrgcn", "num_classes": 2,
    "weights": "w.safetensors", "skeleton": {"layout": "ntu25", "persons": 2, "second_body": "zeros",
    "centre": "first-frame", "align": "none", "scale": "bone", "modality": "bone", "root_trajectory": false,
    "resample": {"name": "crop-resize", "frames": 64, "keep": 0.95, "train_keep": [0.5, 1.0]}},
    "native": {"variant": "original", "skip_empty": true, "parents": [1, 1, 1], "centre": [1], "upright": [],
    "group_of": [], "hop_of": []}, "files": {"w.safetensors": {"sha256": ")" +
                         sha256(weights) + R"("}, "labels.json": {"sha256": ")" + sha256(labels) + R"("}}})";

  Folder() { fs::create_directories(path), write(); }
  ~Folder() { fs::remove_all(path); }
  void write() const {
    put("manifest.json", manifest), put("w.safetensors", weights), put("labels.json", labels);
  }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
  }
  Bundle read() const { return read_bundle(path.string()); }
};

static std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

static void test_read() {
  const Folder folder;
  const Bundle bundle = folder.read();
  expect(bundle.network.model == "ctrgcn" && bundle.network.joints == 3 && bundle.network.classes == 2 &&
             bundle.network.persons == 2 && bundle.network.skip_empty,
         "network");
  expect(bundle.skeleton.layout == "ntu25" && bundle.skeleton.scale == Scale::bone &&
             bundle.skeleton.modality == Modality::bone && bundle.skeleton.resample.keep == 0.95,
         "skeleton");
  expect(bundle.labels == std::vector<std::string>{"wave", "clap"}, "labels");
  expect(bundle.weights_path == (folder.path / "w.safetensors").string(), "weights");
}

static void test_manifests() {
  const Folder folder;
  const auto refuses = [&](const char* from, const char* to, const std::string& part) {
    folder.put("manifest.json", replaced(folder.manifest, from, to));
    throws([&] { folder.read(); }, part, part.c_str());
  };
  refuses("version\": 1", "version\": 2", "has schema_version 2, this ski-edge reads 1; export it again");
  refuses("\"skeleton\",", "\"video-text\",", "task video-text is not run by the native engine");
  refuses("\"native\": {", "\"native\": null, \"x\": {", "exported before there was a native engine");
  refuses("\"ctrgcn\"", "\"hdgcn\"", "hdgcn picks each joint's nearest neighbours");
  refuses("\"native\"", "\"streaming\": {\"receptive_field\": 81, \"trained\": \"unpadded\"}, \"native\"",
          "its weights were trained without padding in time");
  for (const char* name : {"\"a/w\"", "\"..\"", "\"a\\\\w\"", "\"w\\u0000\"", "\"\""})
    refuses("\"w.safetensors\"", name, "weights must be the plain name of a file in the bundle");
  refuses("\"w.safetensors\"", "\"other\"", "files of the manifest must list other");
  refuses("\"align\"", "\"mirror\": true, \"align\"", "skeleton.mirror must be left out");
  refuses("\"keep\"", "\"warp\": 1, \"keep\"", "skeleton.resample.warp must be left out");
  refuses("\"group_of\"", "\"colour\": 1, \"group_of\"", "native.colour must be left out");
  refuses("first-frame", "last-frame", "skeleton.centre must be one of none, first-frame, each-frame");
  refuses("\"align\": \"none\", ", "", "skeleton.align is missing");
  refuses("[1, 1, 1]", "[1, 1, 9]", "a joint must be 0 to 2, got 9");
  refuses("\"ntu25\"", "{}", "skeleton.layout.name is missing");
  refuses("\"ntu25\"", "3", "skeleton.layout must be an object");
}

static void test_files() {
  Folder folder;
  throws([&] { read_bundle((folder.path / "none").string()); }, "none does not exist; make one", "no folder");
  throws([&] { read_bundle((folder.path / "labels.json").string()); }, "is a file", "a file");
  folder.put("w.safetensors", "Weights");
  throws([&] { folder.read(); }, "w.safetensors was changed after export", "one bit of the weights");
  fs::remove(folder.path / "w.safetensors");
  throws([&] { folder.read(); }, "w.safetensors does not exist", "no weights");
  fs::create_symlink(folder.path / "labels.json", folder.path / "w.safetensors");
  throws([&] { folder.read(); }, "is a symbolic link", "a link");
  fs::remove(folder.path / "w.safetensors");
  fs::create_directory(folder.path / "w.safetensors");
  throws([&] { folder.read(); }, "must be a file, it is a folder", "a folder in its place");
  fs::remove(folder.path / "w.safetensors");
  folder.write();
  folder.put("labels.json", folder.labels + " ");
  throws([&] { folder.read(); }, "labels.json was changed after export", "labels changed");
  fs::remove(folder.path / "manifest.json");
  throws([&] { folder.read(); }, "has no manifest.json", "no manifest");
}

static void test_labels() {
  const Folder folder;
  const auto refuses = [&](const std::string& labels, const std::string& part) {
    folder.put("labels.json", labels);
    folder.put("manifest.json", replaced(folder.manifest, sha256(folder.labels), sha256(labels)));
    throws([&] { folder.read(); }, part, part.c_str());
  };
  refuses(R"([{"name": "wave"}])", "has 1 names, the manifest says 2 classes");
  refuses(R"([{"name": "wave"}, {"name": "wave"}])", "[1].name must be a label of its own");
  refuses(R"([{"name": "wave"}, {"name": "\u001b[2J"}])", "[1].name must be 1 to 500 printable");
  refuses(R"([{"name": "wave"}, {"name": ""}])", "[1].name must be 1 to 500 printable");
  refuses(R"({})", "must be an array");
}

static void test_damage() {
  const Folder folder;
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    folder.put("manifest.json", damaged(folder.manifest, random));
    try {
      folder.read();
    } catch (const BadInput&) {
    }
  }
  expect(true, "damaged manifests are read or refused");
}

int main() {
  test_sha256();
  test_read();
  test_manifests();
  test_files();
  test_labels();
  test_damage();
  return summary();
}
