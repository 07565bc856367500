"""The two halves of a video-text model, restated for tracing: flat named tensors, no work that is thrown away.

The modules share the live model's parameters and change none. Two savings, both exact:
- only the class token leaves the vision tower, so the last block computes queries and MLP for that token alone
  (its keys and values still need all tokens): 10/12 of the last of L blocks;
- the text transformer is causal and read at the end token, so tokens may be as short as the longest prompt.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ski_edge.models import ViFiCLIP


def _attend(block: nn.Module, x: Tensor, queries: int | None, mask: Tensor | None) -> Tensor:
    """Pre-norm self-attention of one CLIP block: x [B, L, W] -> [B, queries or L, W], residual included."""
    y = block.ln_1(x)
    attn = block.attn
    width, heads = attn.embed_dim, attn.num_heads
    weight, bias = attn.in_proj_weight, attn.in_proj_bias
    if queries is None:
        q, k, v = F.linear(y, weight, bias).chunk(3, dim=-1)
    else:
        q = F.linear(y[:, :queries], weight[:width], bias[:width])
        k, v = F.linear(y, weight[width:], bias[width:]).chunk(2, dim=-1)
        x = x[:, :queries]
    q, k, v = (z.unflatten(-1, (heads, width // heads)).transpose(1, 2) for z in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    return x + attn.out_proj(out)


def _block(block: nn.Module, x: Tensor, queries: int | None = None, mask: Tensor | None = None) -> Tensor:
    x = _attend(block, x, queries, mask)
    return x + block.mlp(block.ln_2(x))


class FrameEncoder(nn.Module):
    """frames [B, 3, S, S], preprocessed -> embedding [B, D], before any normalisation."""

    def __init__(self, model: ViFiCLIP) -> None:
        super().__init__()
        self.visual = model.clip.visual

    def forward(self, frames: Tensor) -> Tensor:
        visual = self.visual
        patches = visual.conv1(frames).flatten(2).transpose(1, 2)
        token = visual.class_embedding.expand(frames.shape[0], 1, -1)
        x = visual.ln_pre(torch.cat([token, patches], dim=1) + visual.positional_embedding)
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
