// How many CPUs a process may use: control groups of both versions, from files that look like the kernel's.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "checks.h"
#include "dispatch/cpus.h"
#if defined(__linux__)
#include <sched.h>
#endif

using ski_edge::usable_cpus;
namespace fs = std::filesystem;

namespace {

// A root with /proc/self/cgroup and /sys/fs/cgroup below it.
struct Root {
  fs::path path = fs::temp_directory_path() / ("ski_edge_test_cpus_" + std::to_string(getpid()));

  explicit Root(const std::string& groups) { put("proc/self/cgroup", groups); }
  ~Root() { fs::remove_all(path); }
  void put(const std::string& name, const std::string& text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }
  int cpus() const { return usable_cpus(path.string()); }
};

// One CPU of affinity hides every quota above it: such cases say what they would have been.
void expect_quota(const Root& root, int quota, int unlimited, const char* what) {
  expect(root.cpus() == std::min(quota, unlimited), what);
}

void test_version_2(int unlimited) {
  const Root root("0::/a/b\n");
  expect(root.cpus() == unlimited, "v2: no files, no limit");
  root.put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  expect(root.cpus() == unlimited, "v2: max is no limit");
  root.put("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  expect_quota(root, 1, unlimited, "v2: half a CPU is one");
  root.put("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
  expect_quota(root, 2, unlimited, "v2: one and a half are two");
  root.put("sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
  expect_quota(root, 2, unlimited, "v2: two are two");
  root.put("sys/fs/cgroup/a/cpu.max", "100000 100000\n");
  expect_quota(root, 1, unlimited, "v2: the group around it is smaller");
  root.put("sys/fs/cgroup/a/cpu.max", "99999999999999 1\n");
  expect_quota(root, 2, unlimited, "v2: a quota beyond int");
  for (const char* damage : {"", "x", "0 100000", "100000", "100000 0", "-5 -5", "9e99 1"}) {
    root.put("sys/fs/cgroup/a/b/cpu.max", damage);
    expect(root.cpus() == unlimited, "v2: what is no quota limits nothing");
  }
}

void test_container() {
  const Root root("0::/\n");
  root.put("sys/fs/cgroup/cpu.max", "10000 100000\n");
  expect(root.cpus() == 1, "v2: a container's own root");
  const Root escaped("0::/../host\n");  // of another namespace
  escaped.put("sys/fs/cgroup/cpu.max", "10000 100000\n");
  expect(escaped.cpus() == 1, "v2: a path outside");
}

void test_version_1(int unlimited) {
  for (const std::string mount : {"sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"}) {
    const Root root("5:memory:/m\n4:cpuset:/s\n3:cpu,cpuacct:/docker/1f\n1:name=systemd:/x\n");
    root.put(mount + "/docker/1f/cpu.cfs_period_us", "100000\n");
    root.put(mount + "/docker/1f/cpu.cfs_quota_us", "-1\n");
    expect(root.cpus() == unlimited, "v1: -1 is no limit");
    root.put(mount + "/docker/1f/cpu.cfs_quota_us", "100001\n");
    expect_quota(root, 2, unlimited, "v1: a little more than one is two");
    root.put(mount + "/docker/1f/cpu.cfs_quota_us", "25000\n");
    expect(root.cpus() == 1, "v1: a quarter is one");
    fs::remove_all(root.path / mount);
    root.put(mount + "/cpu.cfs_quota_us", "25000\n"), root.put(mount + "/cpu.cfs_period_us", "100000\n");
    expect(root.cpus() == 1, "v1: the host's path, the container's mount");
  }
}

void test_affinity() {
#if defined(__linux__)
  cpu_set_t before, one;
  if (sched_getaffinity(0, sizeof before, &before) != 0) return;
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  expect(sched_setaffinity(0, sizeof one, &one) == 0 && usable_cpus() == 1, "bound to one CPU");
  sched_setaffinity(0, sizeof before, &before);
#endif
}

}  // namespace

int main() {
  const int unlimited = usable_cpus("/nowhere");
  expect(unlimited >= 1 && usable_cpus() >= 1, "at least one");
  test_version_2(unlimited);
  test_container();
  test_version_1(unlimited);
  test_affinity();
  return summary();
}
