"""The halves of a video-text model, restated for tracing: flat named tensors, no work that is thrown away.

The modules share the live model's parameters and change none. Three savings, all exact:
- where only the class token leaves the vision tower (ViFi-CLIP, FROSTER), the last block computes queries and MLP for
  that token alone (its keys and values still need all tokens): 10/12 of the last of L blocks;
- X-CLIP's patches are averaged over time before they are projected, not after: a linear map of a mean, once and not
  T times;
- the text transformer is causal and read at the end token, so tokens may be as short as the longest prompt.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ski_edge.models.clip import ClipModel, attend, embed_patches, project


def _block(block: nn.Module, x: Tensor, queries: int | None = None, mask: Tensor | None = None) -> Tensor:
    """One CLIP block: x [B, L, W] -> [B, queries or L, W]."""
    x = x[:, :queries] + attend(block.attn, *project(block.attn, block.ln_1(x), queries), mask)
    return x + block.mlp(block.ln_2(x))


class FrameEncoder(nn.Module):
    """frames [B, 3, S, S], preprocessed -> embedding [B, D], before any normalisation (ViFi-CLIP)."""

    def __init__(self, model: ClipModel) -> None:
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


class NeighbourClipEncoder(nn.Module):
    """frames [N, T, 3, S, S], preprocessed -> embedding [N, D]: mean over T of L2-normalised features (FROSTER)."""

    def __init__(self, model: ClipModel) -> None:
        super().__init__()
        self.visual = model.clip.visual
        self.length = model.config.video.window_frames

    def forward(self, frames: Tensor) -> Tensor:
        visual = self.visual
        x = embed_patches(visual, frames.flatten(0, 1))
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = self._block(block, x)
        x = self._block(last, x, queries=1)
        features = F.normalize(visual.ln_post(x[:, 0]) @ visual.proj, dim=-1)
        return features.unflatten(0, (-1, self.length)).mean(dim=1)

    def _block(self, block: nn.Module, x: Tensor, queries: int | None = None) -> Tensor:
        """x [N * T, L, W] -> [N * T, queries or L, W]; keys and values are also the next and the previous frame's."""
        q, k, v = project(block.attn, block.ln_1(x), queries)
        x = x[:, :queries] + attend(block.attn, q, self._with_neighbours(k), self._with_neighbours(v))
        return x + block.mlp(block.ln_2(x))

    def _with_neighbours(self, tokens: Tensor) -> Tensor:
        """[N * T, L, W] -> [N * T, 3 L, W]; beyond the clip's ends stand zeros, unmasked."""
        clips = tokens.unflatten(0, (-1, self.length))
        nothing = torch.zeros_like(clips[:, :1])
        following, previous = torch.cat([clips[:, 1:], nothing], dim=1), torch.cat([nothing, clips[:, :-1]], dim=1)
        return torch.cat([following, previous, clips], dim=2).flatten(0, 1)


class JointScorer(nn.Module):
    """frames [N, T, 3, S, S], preprocessed, and raw text features [K, D] -> logits [N, K], cosines (X-CLIP).

    All patches leave the tower, because the labels look at them: no shortcut in the last block.
    """

    def __init__(self, model: ClipModel) -> None:
        super().__init__()
        self.visual, self.messages = model.clip.visual, model.messages
        self.integration, self.prompts = model.integration, model.prompts
        self.length = model.config.video.window_frames

    def forward(self, frames: Tensor, text: Tensor) -> Tensor:
        visual, prompts = self.visual, self.prompts
        x = embed_patches(visual, frames.flatten(0, 1))
        for block, message in zip(visual.transformer.resblocks, self.messages, strict=True):
            x = self._block(block, message, x)
        tokens = (visual.ln_post(x[:, 0]) @ visual.proj).unflatten(0, (-1, self.length))
        patches = prompts.patch_norm(x[:, 1:]).unflatten(0, (-1, self.length)).mean(dim=1) @ prompts.patch_proj
        labels = F.normalize(prompts(text, patches), dim=-1)
        return (labels @ F.normalize(self.integration(tokens), dim=-1).unsqueeze(2)).squeeze(2)

    def _block(self, block: nn.Module, message: nn.Module, x: Tensor) -> Tensor:
        """x [N * T, L, W]; all tokens see their frame's message, which is no query itself."""
        news = message(x[:, 0].unflatten(0, (-1, self.length))).flatten(0, 1).unsqueeze(1)
        heard = block.ln_1(torch.cat([x, news], dim=1))
        x = x + attend(block.attn, *project(block.attn, heard, queries=x.shape[1]))
        return x + block.mlp(block.ln_2(x))


class TextEncoder(nn.Module):
    """tokens int64 [K, L], L <= context -> text_embedding [K, D]: L2-normalised, or raw where the video rewrites it."""

    def __init__(self, model: ClipModel) -> None:
        super().__init__()
        self.clip = model.clip
        self.raw = model.config.video.raw_text

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
        return x if self.raw else F.normalize(x, dim=-1)
