#include "engine/spec.h"

#include "ski_edge/check.h"
#include "ski_edge/limits.h"

namespace ski_edge {

namespace {

void check_size(const char* what, long value, int most) {
  check(value >= 1 && value <= most, "network: ", what, " must be 1 to ", most, ", got ", value,
        "; export the bundle again");
}

// Groups and hops are counted from 0 and never more than there are joints; ops size their tables by them.
void check_table(const char* what, const std::vector<int>& table, std::size_t most, int joints) {
  check(table.size() <= most, "network: ", what, " must hold up to ", most, " numbers, got ", table.size(),
        "; export the bundle again");
  for (const int entry : table) {
    check(entry >= 0 && entry < joints, "network: ", what, " must hold 0 to ", joints - 1, ", got ", entry,
          "; export the bundle again");
  }
}

}  // namespace

const NetworkSpec& checked(const NetworkSpec& spec) {
  check_size("joints", spec.joints, kMostJoints);
  check_size("persons", spec.persons, kMostPersons);
  check_size("classes", spec.classes, kMostClasses);
  const auto joints = static_cast<std::size_t>(spec.joints);
  check_table("group_of", spec.group_of, joints, spec.joints);
  check_table("hop_of", spec.hop_of, joints * joints, spec.joints);
  return spec;
}

}  // namespace ski_edge
