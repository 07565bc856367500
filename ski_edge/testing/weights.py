"""Stand-ins for trained weights where accuracy or precision is claimed: random weights are too tame."""

from __future__ import annotations

import math

import torch
from torch import nn

from ski_edge.models import ViFiCLIP
from ski_edge.models.pose import PoseNetwork

_OUTLIERS = 3  # channels per tower
_SIZE = 40.0  # residual stream of trained CLIP: a few channels lie tens of times above the rest


@torch.no_grad()
def clip_like(model: ViFiCLIP) -> ViFiCLIP:
    """Give a random model trained CLIP's awkward habits, in place: outlier channels and a logit scale of 100."""
    for tower in (model.clip.visual.transformer, model.clip.transformer):
        block = tower.resblocks[0]
        width = block.mlp.c_proj.bias.numel()
        for i in range(_OUTLIERS):
            block.mlp.c_proj.bias[(i * 37 + 5) % width] = _SIZE * (-1) ** i
    model.clip.logit_scale.fill_(math.log(100))
    return model


@torch.no_grad()
def settled(model: PoseNetwork, seed: int = 1) -> PoseNetwork:
    """Give a random skeleton network what training leaves, in place: every term counts, norms know the statistics of
    what they see, so that activations stay of order one, which half precision needs."""
    random = torch.Generator().manual_seed(seed)
    for key, tensor in model.state_dict().items():
        if not tensor.is_floating_point() or "running" in key:
            continue
        noise = torch.randn(tensor.shape, generator=random)
        if key.endswith("bias"):
            tensor.add_(0.1 * noise)
        elif "norm" in key and key.endswith("weight"):
            tensor.copy_(0.7 * (1 + 0.1 * noise))
        elif key.endswith("gain"):
            tensor.fill_(0.5)
        elif key.endswith(("hop_features", "group_weight")):
            tensor.copy_(0.3 * noise)
        elif model.config.model == "stgcn" and tensor.ndim in (2, 4):  # its own are too small to matter
            tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    spec = model.config.skeleton
    model.train()(0.5 * torch.randn((8, 3, 32, spec.layout.num_joints, spec.persons), generator=random))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()
