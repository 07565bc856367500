// The largest sizes that networks, ops and clips may have: far beyond what exists, and so small that a
// product of two of them fits an int wherever the code counts in ints. Whatever comes from outside is
// compared with these before it is multiplied.
#pragma once

namespace ski_edge {

constexpr int kMostChannels = 4096;    // of an activation, a head's features, the relations of CTR-GC
constexpr int kMostJoints = 256;       // of a skeleton
constexpr int kMostFrames = 1 << 20;   // of a clip: nine hours at 30 frames per second
constexpr int kMostBodies = 1 << 20;   // of one activation
constexpr int kMostSubsets = 16;       // graphs side by side
constexpr int kMostPersons = 16;       // body slots of a network
constexpr int kMostClasses = 100'000;  // labels
constexpr int kMostAxis = 16'384;      // of a tensor of weights whose size only the file knows

}  // namespace ski_edge
