"""Weights, clips and exact results, once for all processes: python prepare.py FOLDER [--dry-run].

FOLDER/<model>/ a checkpoint of random weights that act as trained ones do (`settled`): speed, and what a precision
loses, but no accuracy; FOLDER/<case>.npz clip and float64 logits; FOLDER/tiny/ networks for compute-sanitizer.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import numpy as np
import torch
from sizes import cases

import ski_edge
from ski_edge.models.checkpoint import save_model
from ski_edge.skeleton.graphs import hops, hyperedges
from ski_edge.testing.weights import settled


def clip_of(case) -> torch.Tensor:
    random = torch.Generator().manual_seed(case.batch)
    sizes = torch.linspace(0.3, 0.9, case.batch).view(-1, 1, 1, 1, 1)  # clips that differ
    clip = sizes * torch.randn((case.batch, 3, case.frames, case.joints, case.persons), generator=random)
    clip[..., case.bodies :] = 0
    return clip


def native_spec(model: torch.nn.Module) -> dict[str, object]:
    """Fields of `NetworkSpec`; like `ski_edge.export.pose.native_network`, which needs the package installed."""
    config, layout = model.config, model.config.skeleton.layout
    spec = {"model": config.model, "variant": getattr(config, "variant", "original"), "joints": layout.num_joints}
    spec |= {"persons": config.skeleton.persons, "classes": config.num_classes, "skip_empty": True}
    spec |= {"group_of": [], "hop_of": []}
    if config.model == "hyperformer":
        spec |= {"group_of": list(map(int, hyperedges(layout))), "hop_of": hops(layout).ravel().tolist()}
    return spec


@torch.no_grad()
def main() -> None:
    folder, dry = Path(sys.argv[1]), "--dry-run" in sys.argv
    device = "cuda" if torch.cuda.is_available() and not dry else "cpu"
    models = {}
    for case in cases(dry):
        if case.model not in models:
            about = {"num_classes": 120, "layout": "ntu25"}
            model = settled(ski_edge.create_model(case.model, seed=0, arch="tiny" if dry else "base", **about))
            save_model(model, folder / case.model)
            models[case.model] = copy.deepcopy(model).double().to(device)
        clip = clip_of(case)
        parts = clip.double().to(device).split(8)
        wanted = torch.cat([models[case.model](part).cpu() for part in parts])
        np.savez(folder / f"{case.name}.npz", clip=clip.numpy(), wanted=wanted.numpy())
    for name in models:
        save_model(settled(ski_edge.create_model(name, seed=0, arch="tiny", **about)), folder / "tiny" / name)
        spec = native_spec(models[name])
        for place in (folder / name, folder / "tiny" / name):
            (place / "spec.json").write_text(json.dumps(spec))
    (folder / "prepared.json").write_text(json.dumps({"device": device}))


if __name__ == "__main__":
    main()
