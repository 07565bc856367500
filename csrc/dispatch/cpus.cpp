#include "dispatch/cpus.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace ski_edge {

namespace {

constexpr int kNoLimit = std::numeric_limits<int>::max();

int affinity() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// Microseconds per period as CPUs. Without a limit the kernel writes "max" or -1: no number, or none above 0.
int as_cpus(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return kNoLimit;
  const long long whole = quota / period + (quota % period != 0);
  return static_cast<int>(std::min<long long>(whole, kNoLimit));
}

long long number_in(const std::string& path) {
  long long value = 0;  // stays 0 where there is no such file
  std::ifstream(path) >> value;
  return value;
}

int quota_v2(const std::string& group) {
  long long quota = 0, period = 0;
  std::ifstream(group + "/cpu.max") >> quota >> period;
  return as_cpus(quota, period);
}

int quota_v1(const std::string& group) {
  return as_cpus(number_in(group + "/cpu.cfs_quota_us"), number_in(group + "/cpu.cfs_period_us"));
}

// The least of a group and all groups around it. In a container the path may be the host's, of which only
// the end is there, as the mount's own root: groups that do not exist limit nothing.
template <class Quota>
int around(const std::string& mount, std::string path, const Quota& quota) {
  int least = quota(mount);
  while (!path.empty() && path != "/") {
    least = std::min(least, quota(mount + path));
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  return least;
}

// Lines of /proc/self/cgroup: "0::/path" for version 2, "4:cpu,cpuacct:/path" for version 1.
int quota_of_groups(const std::string& root) {
  std::ifstream groups(root + "/proc/self/cgroup");
  const std::string mount = root + "/sys/fs/cgroup";
  int least = kNoLimit;
  for (std::string line; std::getline(groups, line);) {
    std::istringstream fields(line);
    std::string number, controllers, path;
    std::getline(fields, number, ':'), std::getline(fields, controllers, ':'), std::getline(fields, path);
    if (controllers.empty()) least = std::min(least, around(mount, path, quota_v2));
    if (("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    for (const char* name : {"/cpu", "/cpu,cpuacct"}) {
      least = std::min(least, around(mount + name, path, quota_v1));
    }
  }
  return least;
}

}  // namespace

int usable_cpus(const std::string& root) { return std::max(1, std::min(affinity(), quota_of_groups(root))); }

}  // namespace ski_edge
