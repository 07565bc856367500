"""What this GPU can do at most, by torch: the ceilings that a network's floor is counted from."""

from __future__ import annotations

import statistics

import torch
from contenders import on_stream, tf32


def rate(dtype: torch.dtype, size: int, device: str) -> float:
    """TFLOP/s of a square matrix product of random numbers."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    on_stream(lambda: torch.matmul(a, b, out=out), 5)
    return 2 * size**3 / statistics.median(on_stream(lambda: torch.matmul(a, b, out=out), 15)) / 1e9


def copy_rate(size: int, device: str) -> float:
    """GB/s of a copy of so many bytes, read and written."""
    source = torch.randn(size // 4, device=device)
    target = torch.empty_like(source)
    copies = on_stream(lambda: target.copy_(source), 20)
    return 2 * size / statistics.median(copies[5:]) / 1e6


def peaks() -> dict[str, float]:
    """GB/s count bytes read and written; a graph of n smallest kernels gives their latency, alone and in a chain."""
    cuda = torch.cuda.is_available()
    device, size, count = ("cuda", 8192, 1 << 30) if cuda else ("cpu", 256, 1 << 20)
    with torch.inference_mode():
        found = {"copy_gb_s": copy_rate(count, device)}
        with tf32(False):
            found["fp32_tflops"] = rate(torch.float32, size // 2, device)
        with tf32(True):
            found["tf32_tflops"] = rate(torch.float32, size, device)
        found["fp16_tflops"] = rate(torch.float16, size, device)
        if cuda:
            found |= {f"graph_of_{n}_kernels_us": 1000 * replay(n) for n in (1, 23, 101)}
    return found


def replay(kernels: int) -> float:
    """Milliseconds of a CUDA graph of so many kernels that each add to one number, one after the other."""
    x, graph = torch.zeros(1, device="cuda"), torch.cuda.CUDAGraph()
    x.add_(1)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(kernels):
            x.add_(1)
    on_stream(graph.replay, 20)
    return statistics.median(on_stream(graph.replay, 200))
