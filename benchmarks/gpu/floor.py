"""How fast a network could run: operations, bytes and dependent steps, counted; and the times they take at least.

    python floor.py [RECORD.json]     # ceilings of a record of run_all.py; else the H100's data sheet

Needs no GPU. Operations and bytes are those of `ski_edge/testing/op_costs.py`, bytes with fp16 weights and activations
between ops. A kernel of the chain costs at least what a graph of the smallest kernels costs per kernel.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ski_edge.testing.op_costs import cost
from ski_edge.testing.op_layers import network_layers

_DATA_SHEET = {"fp16_tflops": 989.0, "tf32_tflops": 494.0, "copy_gb_s": 3350.0, "kernel_us": 1.0}
_HALF = 2
_PER_BLOCK = {"ctrgcn": 3, "hyperformer": 2, "stgcn": 2}  # kernels: CTR-GCN's graphs are a step of their own
_ENDS = 2  # input norm, head
_TF32_PRODUCTS = 3  # of one float32 product


def count(network: str, bodies: int) -> dict[str, float]:
    costs = [cost(layer, bodies, _HALF) for layer in network_layers(network, "ntu25", frames=64)]
    return {
        "gflop": sum(c.flop for c in costs) / 1e9,
        "weight_mb": sum(c.weight_bytes for c in costs) / 1e6,
        "activation_mb": sum(c.activation_bytes for c in costs) * _HALF / 4 / 1e6,
        "steps": len(costs) // 2 * _PER_BLOCK[network] + _ENDS,
    }


def ceilings(path: str | None) -> dict[str, float]:
    if path is None:
        return _DATA_SHEET
    peaks = json.loads(Path(path).read_text())["peaks"]
    chain = (peaks["graph_of_101_kernels_us"] - peaks["graph_of_1_kernels_us"]) / 100
    return {**{key: peaks[key] for key in ("fp16_tflops", "tf32_tflops", "copy_gb_s")}, "kernel_us": chain}


def main() -> None:
    top = ceilings(sys.argv[1] if len(sys.argv) > 1 else None)
    print(" ".join(f"{key} {value:.4g}" for key, value in top.items()))
    print(
        "| network | bodies | GFLOP | weights MB | activations MB | steps | fp16 us | fp32 us | bytes us | steps us |"
    )
    print("|" + "---|" * 10)
    for network in _PER_BLOCK:
        for bodies in (2, 16, 128):
            c = count(network, bodies)
            fp16 = c["gflop"] / top["fp16_tflops"] * 1e3
            fp32 = _TF32_PRODUCTS * c["gflop"] / top["tf32_tflops"] * 1e3
            moved = (c["weight_mb"] + c["activation_mb"]) / top["copy_gb_s"] * 1e3
            cells = [network, bodies, f"{c['gflop']:.2f}", f"{c['weight_mb']:.1f}", f"{c['activation_mb']:.1f}"]
            cells += [c["steps"], f"{fp16:.1f}", f"{fp32:.1f}", f"{moved:.1f}", f"{c['steps'] * top['kernel_us']:.1f}"]
            print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
