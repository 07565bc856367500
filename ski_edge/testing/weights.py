"""Stand-ins for trained weights where accuracy or precision is claimed: random weights are too tame."""

from __future__ import annotations

import math

import torch

from ski_edge.models import ViFiCLIP

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
