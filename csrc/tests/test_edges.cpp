// How clips enter a network, against plain loops.
#include "reference.h"
#include "ski_edge/ops/edges.h"

using namespace ski_edge;

namespace {

// A clip as [N, 3, T, V, M], and the same numbers as [N, T, M, V, 3]; slots out of order, one of them twice.
void test_normalise() {
  const Body bodies[] = {{1, 1}, {0, 0}, {1, 1}, {0, 1}};
  for (const int frames : {1, 13, 16, 65}) {
    for (const bool channels_first : {true, false}) {
      const int joints = frames == 13 ? 1 : 25, persons = 2, clips = 2, count = frames == 16 ? 1 : 4;
      const std::vector<float> data =
          noise(static_cast<std::size_t>(clips * 3 * frames * joints * persons), -2, 2, 7);
      const std::vector<float> scale = noise(static_cast<std::size_t>(persons * joints * 3), 0.5, 2, 8),
                               shift = noise(scale.size(), -1, 1, 9);
      ClipView x;
      x.data = data.data();
      x.clips = clips, x.frames = frames, x.joints = joints, x.persons = persons;
      x.clip_step = 3L * frames * joints * persons;
      if (channels_first) {
        x.person_step = 1, x.joint_step = persons, x.frame_step = joints * persons;
        x.coordinate_step = x.frame_step * frames;
      } else {
        x.coordinate_step = 1, x.joint_step = 3, x.person_step = 3 * joints;
        x.frame_step = x.person_step * persons;
      }
      Truth truth(count, 3, joints, frames);
      for (int b = 0; b < count; ++b)
        for (int c = 0; c < 3; ++c)
          for (int v = 0; v < joints; ++v)
            for (int t = 0; t < frames; ++t) {
              const int table = (bodies[b].slot * joints + v) * 3 + c;
              const float from = data[static_cast<std::size_t>(
                  bodies[b].clip * x.clip_step + c * x.coordinate_step + t * x.frame_step + v * x.joint_step +
                  bodies[b].slot * x.person_step)];
              truth(b, c, v, t) = static_cast<double>(from) * scale[table] + shift[table];
            }
      double worst = 0;
      bool intact = true;
      for (const Isa isa : isas()) {
        const Held y(count, 3, joints, frames, false);
        normalise(x, bodies, scale.data(), shift.data(), y, isa, pool(1 + frames % 3));
        worst = std::max(worst, error(y, truth));
        intact = intact && y.intact();
      }
      expect(worst <= 2e-7 && intact, ("normalise " + std::to_string(frames) + " frames, " +
                                       (channels_first ? "[N, 3, T, V, M]" : "[N, T, M, V, 3]"))
                                          .c_str());
    }
  }
}

void test_bad_input() {
  const std::vector<float> clip(3 * 16 * 5, 1.0f), table(15, 1.0f);
  ClipView view;
  view.data = clip.data();
  view.clips = 1, view.frames = 16, view.joints = 5, view.persons = 1;
  view.coordinate_step = 80, view.frame_step = 5, view.joint_step = 1;
  const Body body{0, 0};
  const Held entry(1, 3, 5, 16, false);
  const auto enter = [&](auto change, const std::string& part, const char* what) {
    Activation to = entry;
    change(to);
    throws([&] { normalise(view, &body, table.data(), table.data(), to, Isa::scalar, pool(1)); },
           "normalise: " + part, what);
  };
  enter([](auto& to) { to.frames = 15; }, "y must have the 16 frames of x", "normalise: frames");
  enter([](auto& to) { to.split = true; }, "y must have the 16 frames of x", "normalise: split");
  enter([](auto& to) { to.joints = 4; }, "y must be [N, 3, 5, T]", "normalise: joints");
}

}  // namespace

int main() {
  test_normalise();
  test_bad_input();
  return summary();
}
