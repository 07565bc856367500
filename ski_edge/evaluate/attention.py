"""Where in the picture a video-text model looks when it scores a label, and how much of that is the person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ski_edge.data.video import VideoSource
from ski_edge.data.video.views import Views, view_clip
from ski_edge.errors import BadInput, require
from ski_edge.evaluate.classify import evaluating
from ski_edge.evaluate.video import Prompts, VideoTest, class_texts, views_of
from ski_edge.models.clip import ClipModel
from ski_edge.models.pixels import normalise

_STRENGTH = 0.65  # of the colours over the frame, at the hottest place


@dataclass(frozen=True, slots=True)
class OnBody:
    """How much of the relevance of a clip lies on people. Shares, 0 to 1, over the frames that show somebody."""

    frames: int
    energy: float  # of the maps' mass
    energy_by_chance: float  # of a map that is the same everywhere
    hits: float  # frames whose most relevant patch shows a person (pointing game); a frame without relevance is a miss
    hits_by_chance: float  # of a patch drawn at random


def relevance(model: ClipModel, frames: Tensor, text: Tensor, label: int = 0) -> np.ndarray:
    """Preprocessed frames [T, 3, S, S], text features [K, D] -> relevance of each patch for a label, float32 [T, h, w].

    Token by token, activation times gradient of the label's cosine, at the last block's normalised tokens, which are
    all that its attention reads: to first order, what the score would lose without the patch. What would raise the
    score is cut off; the rest sums to 1 over the clip (all zeros where no patch speaks for the label). For ViFi-CLIP
    it is the class token's attention, weighted by its gradient (Chefer et al., ICCV 2021), the keys' part included;
    where frames see each other, a patch also has what it does for other frames.

    Limits: what earlier blocks moved counts where it now stands, and X-CLIP's labels read the patches once more behind
    the last block, which is not in the map.
    """
    if frames.ndim != 4 or text.ndim != 2 or not 0 <= label < len(text):
        raise BadInput(
            f"relevance needs frames [T, 3, S, S], text features [K, D] and a label below K; got {list(frames.shape)}, "
            f"{list(text.shape)}, {label}"
        )
    visual = model.clip.visual
    rows, columns = visual.grid_size
    kept: list[Tensor] = []

    def keep(module: torch.nn.Module, given: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
        kept.append(tokens.detach().requires_grad_())  # nothing before the last block needs a gradient
        return kept[0]

    hook = visual.transformer.resblocks[-1].ln_1.register_forward_hook(keep)
    try:
        with evaluating(model), torch.enable_grad():
            score = model.compare(frames[None], text)[1][0, label]
            (gradient,) = torch.autograd.grad(score, kept[0])
    finally:
        hook.remove()
    # Token 0 is the class token; what follows the patches is X-CLIP's message.
    share = (kept[0].detach() * gradient).sum(dim=-1)[:, 1 : 1 + rows * columns].clamp(min=0).double()
    share = share / share.sum().clamp(min=1e-30)
    return share.unflatten(1, (rows, columns)).float().cpu().numpy()


def on_body(maps: np.ndarray, bodies: np.ndarray) -> OnBody:
    """maps [T, h, w] of `relevance`; bodies bool [T, H, W]: where a person is in the frames as the network saw them."""
    if maps.ndim != 3 or bodies.ndim != 3 or bodies.dtype != bool or len(maps) != len(bodies):
        raise BadInput(
            f"maps must be [T, h, w] and bodies bool [T, H, W]; got {list(maps.shape)}, "
            f"{bodies.dtype} {list(bodies.shape)}"
        )
    if not np.isfinite(maps).all() or (maps < 0).any():
        raise BadInput("the maps hold NaN, infinity or numbers below 0")
    shown = bodies.any(axis=(1, 2))
    if not shown.any():
        raise BadInput("no frame shows a person, so nothing can lie on one")
    maps = maps[shown].astype(np.float64)
    masks = torch.from_numpy(bodies[shown]).double()[:, None]
    covered = F.adaptive_avg_pool2d(masks, maps.shape[1:])[:, 0].numpy()  # [T, h, w]: share of each patch
    touched = covered > 0
    hottest = maps.reshape(len(maps), -1).argmax(axis=1)
    hit = touched.reshape(len(maps), -1)[np.arange(len(maps)), hottest] & maps.any(axis=(1, 2))
    return OnBody(
        len(maps),
        float((maps * covered).sum() / max(maps.sum(), 1e-30)),
        float(covered.mean()),
        float(hit.mean()),
        float(touched.mean()),
    )


def overlay(frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """uint8 [T, H, W, 3] as the network saw them (cropped), maps [T, h, w] -> uint8 [T, H, W, 3], relevance in red.

    One scale for the clip: the hottest place of all frames is fully red.
    """
    if frames.ndim != 4 or frames.dtype != np.uint8 or maps.ndim != 3 or len(frames) != len(maps):
        raise BadInput(
            f"an overlay needs frames uint8 [T, H, W, 3] and maps [T, h, w]; got {frames.dtype} {list(frames.shape)}, "
            f"{list(maps.shape)}"
        )
    wide = F.interpolate(torch.from_numpy(maps)[:, None].float(), frames.shape[1:3], mode="bilinear")[:, 0].numpy()
    heat = _STRENGTH * (wide / max(float(wide.max()), 1e-30))[..., None]
    grey = frames.mean(axis=-1, keepdims=True)  # so that red is relevance and nothing else
    return np.rint((1 - heat) * grey + heat * np.array([255.0, 0, 0])).astype(np.uint8)


def picture(path: Path, frames: np.ndarray, rows: Sequence[tuple[str, np.ndarray]], title: str = "") -> None:
    """PNG: the frames uint8 [T, H, W, 3], and under them one row of overlays per (name, maps [T, h, w])."""
    require("matplotlib", "plot", "the picture")
    from matplotlib.figure import Figure

    strips = [("", frames), *((name, overlay(frames, maps)) for name, maps in rows)]
    figure = Figure(figsize=(1.3 * len(frames) + 1, 1.3 * len(strips)), layout="constrained")
    grid = figure.subplots(len(strips), len(frames), squeeze=False)
    for axes, (name, strip) in zip(grid, strips, strict=True):
        axes[0].set_ylabel(name, parse_math=False)
        for place, frame in zip(axes, strip, strict=True):
            place.imshow(frame)
            place.set_xticks([])
            place.set_yticks([])
    if title:
        figure.suptitle(title, fontsize=9, parse_math=False)
    figure.savefig(path, dpi=110)


def shared_views(models: Mapping[str, ClipModel]) -> Views:
    """One view of a video, as all of these models take it."""
    specs = {name: views_of(model.config) for name, model in models.items()}
    first, views = next(iter(specs.items()))
    for name, other in specs.items():
        if other != views:
            raise BadInput(f"{first} and {name} take other frames ({views!r}; {other!r}); they fit into no one picture")
    return views


def draw_maps(
    models: Mapping[str, ClipModel],
    videos: VideoSource,
    test: VideoTest,
    count: int,
    folder: Path,
    prompts: Prompts | None = None,
) -> list[Path]:
    """`folder/NAME.png` of `count` test videos, class after class: the frames, and where each model looks for the
    video's own class. One view; models must take the same frames.
    """
    views = shared_views(models)
    folder.mkdir(parents=True, exist_ok=True)
    turn = np.array([np.sum(test.labels[:i] == label) for i, label in enumerate(test.labels)])  # of its class
    chosen = np.lexsort([test.labels, turn])[:count]
    texts = {name: class_texts(model, test.classes, prompts) for name, model in models.items()}
    paths = []
    for place in chosen:
        frames = view_clip(videos, int(test.clips[place]), views)[0]
        rows = []
        for name, model in models.items():
            pixels = normalise(torch.from_numpy(frames).to(texts[name].device), model.config.preprocessing)
            rows.append((name, relevance(model, pixels, texts[name], int(test.labels[place]))))
        safe = str(test.names[place]).replace("/", "-")
        paths.append(folder / f"{safe}.png")
        picture(paths[-1], frames, rows, f"{safe}: {test.classes[int(test.labels[place])]}")
    return paths
