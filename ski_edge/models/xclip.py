"""X-CLIP: frames exchange messages, a small transformer joins them, and the video rewrites the text.

Ni et al., "Expanding Language-Image Pretrained Models for General Video Recognition" (ECCV 2022), sections 3.2 and 3.3.
SKI-XCLIP has the same network.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ski_edge.contracts import TextContract, VideoContract
from ski_edge.errors import BadInput
from ski_edge.models.archs import clip_arch
from ski_edge.models.clip import ClipConfig, ClipModel, attend, embed_patches, exact, products, project, run_block

_HEAD = 64  # channels of a head, in every attention that X-CLIP adds
_PROMPT_LAYERS = 2


class XCLIPConfig(ClipConfig):
    model: Literal["xclip", "ski-xclip"] = "xclip"
    video: VideoContract = VideoContract(mode="clip", pooling="joint", window_frames=8)
    text: TextContract = TextContract(template="{}")  # trained on bare names


class Message(nn.Module):
    """Each frame's class token sends a message; messages attend to each other (cross-frame communication)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, width // _HEAD, batch_first=True)

    def forward(self, token: Tensor) -> Tensor:
        """Class tokens [N, T, W] -> messages [N, T, W]."""
        message = self.fc(token)
        return message + attend(self.attention, *project(self.attention, self.norm(message)))


class FrameIntegration(nn.Module):
    """The multi-frame integration transformer: one block over T frame features, then their mean."""

    def __init__(self, dim: int, frames: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(1, frames, dim))
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, dim // _HEAD, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), act(), nn.Linear(4 * dim, dim))
        nn.init.trunc_normal_(self.positional_embedding, std=0.02)

    def forward(self, frames: Tensor) -> Tensor:
        """[N, T, D] -> [N, D]."""
        x = frames + self.positional_embedding
        x = x + attend(self.attention, *project(self.attention, self.norm_1(x)))
        x = x + self.mlp(self.norm_2(x))
        return (x + frames).mean(dim=1)


class PromptLayer(nn.Module):
    """Labels look at the video's patches."""

    def __init__(self, dim: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.heads = dim // _HEAD
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), act(), nn.Linear(4 * dim, dim))

    def forward(self, text: Tensor, patches: Tensor) -> Tensor:
        """text [N, K, D], patches [N, P, D] -> [N, K, D]."""
        parts = self.query(self.norm_1(text)), self.key(patches), self.value(patches)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        text = text + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return text + self.mlp(self.norm_2(text))


class VideoPrompts(nn.Module):
    """What a video adds to the labels' features (video-specific prompting)."""

    def __init__(self, width: int, dim: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.patch_norm = nn.LayerNorm(width)
        self.patch_proj = nn.Parameter(torch.randn(width, dim) * width**-0.5)
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(PromptLayer(dim, act) for _ in range(_PROMPT_LAYERS))
        self.alpha = nn.Parameter(torch.full((dim,), 0.1))

    def patches(self, tokens: Tensor) -> Tensor:
        """Raw patch tokens [N, T, P, W] -> [N, P, D], mean over time."""
        return (self.patch_norm(tokens) @ self.patch_proj).mean(dim=1)

    def forward(self, text: Tensor, patches: Tensor) -> Tensor:
        """text features [K, D], patches [N, P, D] -> the labels as this video reads them [N, K, D]."""
        patches, x = self.norm(patches), text.expand(patches.shape[0], -1, -1)
        for layer in self.layers:
            x = layer(x, patches)
        return text + self.alpha * x


class XCLIP(ClipModel):
    """CLIP towers with messages between frames, frame integration and video-specific prompts; T is fixed."""

    config: XCLIPConfig

    def __init__(self, config: XCLIPConfig) -> None:
        super().__init__(config)
        from open_clip.transformer import QuickGELU

        arch = clip_arch(config.arch)
        act = QuickGELU if config.activation == "quickgelu" else nn.GELU
        self.messages = nn.ModuleList(Message(arch.vision_width) for _ in range(arch.vision_layers))
        self.integration = FrameIntegration(arch.embed_dim, config.video.window_frames, act)
        self.prompts = VideoPrompts(arch.vision_width, arch.embed_dim, act)

    def encode_frames(self, frames: Tensor) -> Tensor:
        raise BadInput(f"{self.config.model} mixes the frames of a clip; encode a whole clip with encode_video")

    def video_features(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """frames [N, T, 3, S, S] -> (video [N, D], patches [N, P, D] for the prompts), before normalisation."""
        visual, length, wanted = self.clip.visual, frames.shape[1], self.config.video.window_frames
        if length != wanted:
            raise BadInput(f"this {self.config.model} takes clips of {wanted} frames, got {length}")
        x = embed_patches(visual, frames.flatten(0, 1))
        for block, message in zip(visual.transformer.resblocks, self.messages, strict=True):
            x = run_block(visual, _block, block, message, x, length)
        token, patches = (part.unflatten(0, (-1, length)) for part in (x[:, 0], x[:, 1:]))
        return self.integration(visual.ln_post(token) @ visual.proj), self.prompts.patches(patches)

    def encode_video(self, frames: Tensor) -> Tensor:
        """frames [N, T, 3, S, S] -> [N, D], L2-normalised. Half of the score: labels depend on the video, too."""
        return F.normalize(exact(self.video_features(frames)[0]), dim=-1)

    def compare(self, frames: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """frames [N, T, 3, S, S], text features [K, D] -> (video embedding [N, D], cosines [N, K])."""
        features, patches = self.video_features(frames)
        video = F.normalize(exact(features), dim=-1)
        return video, products(video, self.prompts(text, patches))


def _block(block: nn.Module, message: Message, x: Tensor, length: int) -> Tensor:
    """CLIP's block on [N * T, L, W]; one more token, the frame's message, is seen by all and dropped again."""
    count = x.shape[1]
    news = message(x[:, 0].unflatten(0, (-1, length))).flatten(0, 1).unsqueeze(1)
    with_news = torch.cat([x, news], dim=1)
    x = x + attend(block.attn, *project(block.attn, block.ln_1(with_news), count))
    return x + block.mlp(block.ln_2(x))
