"""FROSTER: CLIP whose frames attend to their neighbours, each frame scored, the scores averaged.

Huang et al., "FROSTER: Frozen CLIP is a strong teacher for open-vocabulary action recognition" (ICLR 2024); the
attention is Open-VCLIP's (Weng et al., ICML 2023). It adds no parameters to CLIP. SKI-FROSTER has the same network.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ski_edge.contracts import CLIP_MEAN, CLIP_STD, Preprocessing, TextContract, VideoContract
from ski_edge.errors import BadInput
from ski_edge.models.clip import ClipConfig, ClipModel, attend, embed_patches, exact, products, project, run_block


class FROSTERConfig(ClipConfig):
    model: Literal["froster", "ski-froster"] = "froster"
    preprocessing: Preprocessing = Preprocessing(resize_short=224, mean=CLIP_MEAN, std=CLIP_STD)
    # 8 frames, every 16th of 30 a second
    video: VideoContract = VideoContract(mode="clip", pooling="norm-then-mean", window_frames=8, window_s=8 * 16 / 30)
    text: TextContract = TextContract(template="a photo of {}.")  # the first of the 29 whose mean FROSTER takes


class FROSTER(ClipModel):
    """CLIP towers; the image tower reads the frames of a clip together."""

    config: FROSTERConfig

    def encode_frames(self, frames: Tensor) -> Tensor:
        raise BadInput(f"{self.config.model} sees a frame with its neighbours; encode a whole clip with encode_video")

    def frame_features(self, frames: Tensor) -> Tensor:
        """frames [N, T, 3, S, S] -> [N, T, D], before any normalisation."""
        visual, length = self.clip.visual, frames.shape[1]
        x = embed_patches(visual, frames.flatten(0, 1))
        for block in visual.transformer.resblocks:
            x = run_block(visual, _block, block, x, length)
        return (visual.ln_post(x[:, 0]) @ visual.proj).unflatten(0, (-1, length))

    @staticmethod
    def pool(rows: Tensor) -> Tensor:
        """`frame_features` [N, T, D] -> [N, D]: mean over T of L2-normalised frame features.

        Its norm is at most 1 and is not made 1: the mean of the frames' scores is what FROSTER ranks by.
        """
        return F.normalize(exact(rows), dim=-1).mean(dim=1)

    def encode_video(self, frames: Tensor) -> Tensor:
        """frames [N, T, 3, S, S] -> [N, D], see `pool`."""
        return self.pool(self.frame_features(frames))

    def compare(self, frames: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """frames [N, T, 3, S, S], text features [K, D] -> (`encode_video` [N, D], mean of frames' cosines [N, K])."""
        video = self.encode_video(frames)
        return video, products(video, text)


def _block(block: nn.Module, x: Tensor, length: int) -> Tensor:
    """CLIP's block; a frame's queries also see the keys and values of the next and the previous frame."""
    q, k, v = project(block.attn, block.ln_1(x))
    x = x + attend(block.attn, q, _with_neighbours(k, length), _with_neighbours(v, length))
    return x + block.mlp(block.ln_2(x))


def _with_neighbours(tokens: Tensor, length: int) -> Tensor:
    """[N * T, L, W] -> [N * T, 3 L, W]: tokens of frames t + 1, t - 1 and t.

    Beyond a clip's ends stand zeros, which are not masked: they take their share of the softmax, as in the original.
    """
    clips = tokens.unflatten(0, (-1, length))
    nothing = torch.zeros_like(clips[:, :1])
    following, previous = torch.cat([clips[:, 1:], nothing], dim=1), torch.cat([nothing, clips[:, :-1]], dim=1)
    return torch.cat([following, previous, clips], dim=2).flatten(0, 1)
