"""The native graph convolution against its peers, at the layer sizes of ST-GCN.

    python benchmarks/ops/bench_graph_conv.py [--quick]

Method, options and what the columns mean are in `harness.py`.
"""

from harness import main

if __name__ == "__main__":
    # First, middle and last layers; those where the width or the frame rate changes among them.
    main("graph_conv", {"stgcn": (1, 5, 6, 8, 10)}, __doc__)
