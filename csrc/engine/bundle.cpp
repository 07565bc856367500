#include "ski_edge/bundle.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>

#include "engine/files.h"
#include "engine/json.h"
#include "engine/sha256.h"
#include "ski_edge/check.h"

namespace ski_edge {
namespace {

namespace fs = std::filesystem;

constexpr int kSchemaVersion = 1;
constexpr std::uintmax_t kMaxText = 64 << 20;  // bytes of manifest or labels
constexpr const char* kAgain = "; copy the bundle again";

// A key that is not known may change what a clip has to look like, so it must not be passed over.
void check_keys(const Json& object, const std::vector<std::string_view>& known) {
  for (const auto& [key, value] : object.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      value.expected("left out (this ski-edge does not know it)");
}

template <class Value>
Value choice(const Json& json, const std::vector<std::pair<std::string_view, Value>>& choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (json.as_string() == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  json.expected("one of " + names);
}

std::vector<int> integers(const Json& json, int low, int high) {
  std::vector<int> out;
  for (const Json& each : json.as_array()) out.push_back(static_cast<int>(each.as_int(low, high)));
  return out;
}

// A built-in layout is there by its name, a user's as a whole.
std::string layout_name(const Json& layout) {
  try {
    return layout.as_string();
  } catch (const BadInput&) {
    return layout.at("name").as_string();
  }
}

Resample read_resample(const Json& json) {
  using Policy = Resample::Policy;
  Resample out;
  out.policy = choice<Policy>(json.at("name"), {{"crop-resize", Policy::crop_resize},
                                                {"even-sample", Policy::even_sample},
                                                {"uniform-sample", Policy::uniform_sample},
                                                {"zero-pad", Policy::zero_pad},
                                                {"fixed-seconds", Policy::fixed_seconds}});
  out.frames = static_cast<int>(json.at("frames").as_int(1, 4096));
  if (out.policy == Policy::crop_resize) {
    check_keys(json, {"name", "frames", "keep", "train_keep"});
    out.keep = json.at("keep").as_number();
  } else if (out.policy == Policy::fixed_seconds) {
    check_keys(json, {"name", "frames", "seconds", "fps"});
    out.seconds = json.at("seconds").as_number();
    out.fps = json.at("fps").as_number();
  } else {
    check_keys(json, {"name", "frames"});
  }
  return out;
}

SkeletonSpec read_skeleton(const Json& json, const Json& native) {
  check_keys(json, {"layout", "persons", "second_body", "centre", "align", "scale", "resample", "modality",
                    "root_trajectory"});
  SkeletonSpec out;
  out.layout = printable(layout_name(json.at("layout")));
  out.parents = integers(native.at("parents"), 0, 255);
  out.centre_joints = integers(native.at("centre"), 0, 255);
  out.upright = integers(native.at("upright"), 0, 255);
  out.persons = static_cast<int>(json.at("persons").as_int(1, 16));
  out.second_body =
      choice<SecondBody>(json.at("second_body"), {{"zeros", SecondBody::zeros}, {"copy", SecondBody::copy}});
  out.centre = choice<Centre>(
      json.at("centre"),
      {{"none", Centre::none}, {"first-frame", Centre::first_frame}, {"each-frame", Centre::each_frame}});
  out.align = choice<Align>(json.at("align"), {{"none", Align::none}, {"upright", Align::upright}});
  out.scale =
      choice<Scale>(json.at("scale"), {{"none", Scale::none}, {"box", Scale::box}, {"bone", Scale::bone}});
  out.resample = read_resample(json.at("resample"));
  out.modality = choice<Modality>(json.at("modality"), {{"joint", Modality::joint},
                                                        {"bone", Modality::bone},
                                                        {"joint_motion", Modality::joint_motion},
                                                        {"bone_motion", Modality::bone_motion}});
  out.root_trajectory = json.at("root_trajectory").as_bool();
  check_spec(out);
  return out;
}

// A file that the manifest names: directly in the folder, no link, its sha256 as listed.
std::string read_member(const fs::path& folder, const Json& files, const std::string& name,
                        std::uintmax_t most) {
  const std::string path = (folder / name).string();
  const Json* const entry = files.find(name);
  check(entry != nullptr, files.path(), " of the manifest must list ", name, ", so that its sha256 is known",
        kAgain);
  std::error_code error;
  check(!fs::is_symlink(path, error), path, " is a symbolic link; a bundle holds plain files only");
  std::string bytes = read_file(path, "the bundle's file", most);
  check(sha256(bytes) == entry->at("sha256").as_string(), path,
        " was changed after export (its sha256 differs)", kAgain);
  return bytes;
}

std::string plain_name(const Json& json) {
  const std::string& name = json.as_string();
  const bool plain = !name.empty() && name.size() <= 200 && name.find('/') == std::string::npos &&
                     name.find('\\') == std::string::npos && name.find("..") == std::string::npos &&
                     name.find('\0') == std::string::npos;
  if (!plain) json.expected("the plain name of a file in the bundle");
  return name;
}

std::vector<std::string> read_labels(const std::string& text, const std::string& where) {
  const Json root = parse_json(text, where);
  std::vector<std::string> out;
  std::set<std::string_view> seen;
  for (const Json& label : root.as_array()) {
    const Json& name = label.at("name");
    // They are printed, and a terminal obeys control characters.
    if (printable(name.as_string(), 4000) != name.as_string() || name.as_string().empty())
      name.expected("1 to 500 printable characters");
    if (!seen.insert(name.as_string()).second) name.expected("a label of its own");
    out.push_back(name.as_string());
  }
  return out;
}

}  // namespace

Bundle read_bundle(const std::string& name) {
  const fs::path folder(name);
  std::error_code error;
  check(fs::exists(folder, error), "bundle ", name, " does not exist; make one with: ski-edge export --out ",
        name);
  check(fs::is_directory(folder, error), "bundle ", name,
        " is a file; a bundle is the folder that ski-edge export wrote");
  const std::string path = (folder / "manifest.json").string();
  check(fs::exists(path, error), name,
        " has no manifest.json; a bundle is the folder that ski-edge export wrote");
  const Json root = parse_json(read_file(path, "manifest", kMaxText), path);

  const int64_t version = root.at("schema_version").as_int(0, 1'000'000);
  check(version == kSchemaVersion, path, " has schema_version ", version, ", this ski-edge reads ",
        kSchemaVersion, "; export it again");
  check(root.at("task").as_string() == "skeleton", path, ": task ", printable(root.at("task").as_string()),
        " is not run by the native engine, it runs: skeleton; use ski-edge with the onnxruntime backend");
  const Json* const native = root.find("native");
  check(native != nullptr, path, ": exported before there was a native engine; export it again");
  check_keys(*native, {"variant", "skip_empty", "parents", "centre", "upright", "group_of", "hop_of"});

  const Json* const streaming = root.find("streaming");
  if (streaming != nullptr && !streaming->is_null()) {
    check(streaming->at("trained").as_string() != "unpadded", path,
          ": its weights were trained without padding in time, and a whole clip is computed with it; run it "
          "frame by "
          "frame (ski_edge.runtime.SkeletonStream) or with the onnxruntime backend");
  }

  Bundle out;
  out.skeleton = read_skeleton(root.at("skeleton"), *native);
  NetworkSpec& network = out.network;
  network.model = root.at("model").as_string();
  const std::string reason = why_not_engine(printable(network.model));
  check(reason.empty(), path, ": ", reason);
  network.variant = native->at("variant").as_string();
  network.joints = out.skeleton.joints();
  network.persons = out.skeleton.persons;
  network.classes = static_cast<int>(root.at("num_classes").as_int(1, 100'000));
  network.skip_empty = native->at("skip_empty").as_bool();
  network.group_of = integers(native->at("group_of"), 0, 255);
  network.hop_of = integers(native->at("hop_of"), 0, 255);

  const Json& files = root.at("files");
  const std::string weights = plain_name(root.at("weights"));
  read_member(folder, files, weights, 2'000'000'000);
  out.weights_path = (folder / weights).string();
  const std::string labels = (folder / "labels.json").string();
  out.labels = read_labels(read_member(folder, files, "labels.json", kMaxText), labels);
  check(static_cast<int>(out.labels.size()) == network.classes, labels, " has ", out.labels.size(),
        " names, the manifest says ", network.classes, " classes; export the bundle again");
  return out;
}

}  // namespace ski_edge
