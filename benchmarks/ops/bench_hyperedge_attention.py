"""The native attention between joints against its peers, at the layer sizes of Hyperformer.

    python benchmarks/ops/bench_hyperedge_attention.py [--quick]

Method, options and what the columns mean are in `harness.py`.
"""

from harness import main

if __name__ == "__main__":
    # First, middle and last layers; those where the width or the frame rate changes among them.
    main("hyperedge_attention", {"hyperformer": (1, 6, 10)}, __doc__)
