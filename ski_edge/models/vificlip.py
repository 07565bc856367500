"""ViFi-CLIP: OpenAI's CLIP, frame by frame, the frames' features averaged. Also SKI-ViFiCLIP's deployed half.

Rasheed et al., "Fine-tuned CLIP Models are Efficient Video Learners" (CVPR 2023), section 3. SKI-ViFiCLIP
distils SkeletonCLIP into the same network, so at run time the two differ in weights only.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ski_edge.models.clip import ClipConfig, ClipModel, exact, products


class ViFiCLIPConfig(ClipConfig):
    model: Literal["vificlip", "ski-vificlip"] = "vificlip"


class ViFiCLIP(ClipModel):
    """CLIP towers with ViFi-CLIP's video pooling."""

    config: ViFiCLIPConfig

    def encode_frames(self, frames: Tensor) -> Tensor:
        """frames [B, 3, S, S] -> [B, D], before any normalisation."""
        return self.clip.encode_image(frames)

    def frame_features(self, frames: Tensor) -> Tensor:
        """frames [N, T, 3, S, S] -> [N, T, D], before any normalisation."""
        return self.encode_frames(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    @staticmethod
    def pool(rows: Tensor) -> Tensor:
        """`frame_features` [N, T, D] -> [N, D], L2-normalised: mean over T, then one norm."""
        return F.normalize(exact(rows).mean(dim=1), dim=-1)

    def encode_video(self, frames: Tensor) -> Tensor:
        """frames [N, T, 3, S, S] -> [N, D], L2-normalised."""
        return self.pool(self.frame_features(frames))

    def compare(self, frames: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """frames [N, T, 3, S, S], text features [K, D] -> (video embedding [N, D], cosines [N, K])."""
        video = self.encode_video(frames)
        return video, products(video, text)
