"""The two halves of a video-text model, restated for tracing: flat named tensors, no work that is thrown away.

The modules share the live model's parameters and change none. Two savings, both exact:
- only the class token leaves the vision tower, so the last block computes queries and MLP for that token alone
  (its keys and values still need all tokens): 10/12 of the last of L blocks;
- the text transformer is causal and read at the end token, so tokens may be as short as the longest prompt.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ski_edge.models import ViFiCLIP
from ski_edge.models.clip import attend, embed_patches, project


def _block(block: nn.Module, x: Tensor, queries: int | None = None, mask: Tensor | None = None) -> Tensor:
    """One CLIP block: x [B, L, W] -> [B, queries or L, W]."""
    x = x[:, :queries] + attend(block.attn, *project(block.attn, block.ln_1(x), queries), mask)
    return x + block.mlp(block.ln_2(x))


class FrameEncoder(nn.Module):
    """frames [B, 3, S, S], preprocessed -> embedding [B, D], before any normalisation."""

    def __init__(self, model: ViFiCLIP) -> None:
        super().__init__()
        self.visual = model.clip.visual

    def forward(self, frames: Tensor) -> Tensor:
        visual = self.visual
        x = embed_patches(visual, frames)
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = _block(block, x)
        x = _block(last, x, queries=1)
        return visual.ln_post(x[:, 0]) @ visual.proj


class TextEncoder(nn.Module):
    """tokens int64 [K, L], L <= context -> text_embedding [K, D], L2-normalised."""

    def __init__(self, model: ViFiCLIP) -> None:
        super().__init__()
        self.clip = model.clip

    def forward(self, tokens: Tensor) -> Tensor:
        clip = self.clip
        length = tokens.shape[1]
        mask = clip.attn_mask[:length, :length]
        x = clip.token_embedding(tokens) + clip.positional_embedding[:length]
        for block in clip.transformer.resblocks:
            x = _block(block, x, mask=mask)
        # The end token has the highest id of all.
        end = tokens.argmax(dim=1)[:, None, None].expand(-1, 1, x.shape[2])
        x = clip.ln_final(x.gather(1, end)[:, 0]) @ clip.text_projection
        return F.normalize(x, dim=-1)
