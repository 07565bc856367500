// How many threads pay off here.
#pragma once

#include <string>

namespace ski_edge {

// CPUs that this process may use: those of its affinity, and no more than the time its control groups give
// it, rounded up (a container with a quota of 1.5 CPUs on a machine of 64 gets 2). At least 1. root: of the
// files to look at, for tests.
int usable_cpus(const std::string& root = "");

}  // namespace ski_edge
