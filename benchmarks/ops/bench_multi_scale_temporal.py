"""The native multi-scale temporal convolution against its peers, at the layer sizes of CTR-GCN and Hyperformer.

    python benchmarks/ops/bench_multi_scale_temporal.py [--quick]

Method, options and what the columns mean are in `harness.py`.
"""

from harness import main

if __name__ == "__main__":
    # First, middle and last layers; those where the width or the frame rate changes among them.
    main("multi_scale_temporal", {"ctrgcn": (1, 5, 6, 8, 10), "hyperformer": (1, 5, 10)}, __doc__)
