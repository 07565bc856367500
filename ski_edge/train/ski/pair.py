"""The networks of a run, and what they make of a batch: two embeddings, two similarity matrices, one loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ski_edge.errors import BadInput
from ski_edge.models.clip import ClipModel, mean_of_prompts, products
from ski_edge.models.registry import create_model
from ski_edge.models.skeletonclip import SkeletonCLIP
from ski_edge.models.vificlip import ViFiCLIP
from ski_edge.models.xclip import XCLIP
from ski_edge.train.ski.losses import (
    DISTILLATION,
    Similarities,
    cosine_distance,
    feature_distance,
    grouped_cross_entropy,
    info_nce,
    soft_cross_entropy,
)
from ski_edge.train.ski.recipe import SkiRecipe

_RESIDUAL_SHARE = 0.1  # of a projection in the feature it is added to (FROSTER)
_START_SCALE = 1 / 0.07  # CLIP's


class ResidualProjection(nn.Module):
    """x + 0.1 * W2 gelu(W1 x), W2 zero at the start (FROSTER's residual feature distillation)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim, bias=False), nn.GELU(), nn.Linear(dim, dim, bias=False))
        nn.init.kaiming_normal_(self.layers[0].weight)
        nn.init.zeros_(self.layers[2].weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + _RESIDUAL_SHARE * self.layers(x)


class SavedTeacher(nn.Module):
    """Embeddings of another skeleton-text model, by clip: a teacher that does not learn."""

    def __init__(self, embeddings: Tensor, class_embeddings: Tensor) -> None:
        """embeddings [clips, D], class_embeddings [K, D] of the classes in training."""
        super().__init__()
        self.register_buffer("embeddings", F.normalize(embeddings, dim=-1), persistent=False)
        self.register_buffer("class_embeddings", F.normalize(class_embeddings, dim=-1), persistent=False)

    def compare(self, clips: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """clips: int64 [N]; the texts are those of its own space."""
        skeleton = self.embeddings[clips]
        return skeleton, skeleton @ self.class_embeddings.T

    scale = 100.0


class Pair(nn.Module):
    """Student, teacher, text; `forward` gives the loss and its parts.

    video_text, skeleton_text: features [K, D] of the classes in training where text is frozen, else tokens [K, P, L];
    groups: sizes of the groups of classes of each of which one is true (mostly one group).
    """

    def __init__(
        self,
        recipe: SkiRecipe,
        student: ClipModel | None,
        teacher: SkeletonCLIP | SavedTeacher | None,
        video_text: Tensor | None,
        skeleton_text: Tensor | None,
        groups: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.recipe, self.student, self.teacher, self.groups = recipe, student, teacher, groups
        self.register_buffer("video_text", video_text, persistent=False)
        self.register_buffer("skeleton_text", skeleton_text, persistent=False)
        self.heads = nn.ModuleDict()
        self.raw: ViFiCLIP | None = None  # FROSTER's teacher: plain CLIP with the weights it begins with
        if student is not None:
            _train_only_used(student, recipe)
            dim = student.clip.visual.proj.shape[1]
            if recipe.objective == "feature-projected":
                self.heads["project"] = ResidualProjection(dim)
            if recipe.objective == "cross-projection":
                # Without biases, so that to_video goes into the teacher's last layer in the end (`join_video_space`)
                self.heads["to_video"], self.heads["to_skeleton"] = (nn.Linear(dim, dim, bias=False) for _ in range(2))
                student.requires_grad_(False)
            if recipe.student.residual:
                if isinstance(student, XCLIP):
                    raise BadInput("student.residual compares single frames, which xclip does not encode; set it to 0")
                self.raw = _raw(student)
                self.heads["residual_video"] = ResidualProjection(dim)
                if not recipe.text.freeze:
                    self.heads["residual_text"] = ResidualProjection(dim)
        if recipe.objective in ("tri-modal", "cross-projection"):
            self.pair_log_scale = nn.Parameter(torch.tensor(math.log(_START_SCALE)))
        if recipe.teacher is not None and recipe.teacher.freeze:
            teacher.requires_grad_(False)
        elif isinstance(teacher, SkeletonCLIP) and teacher.text is not None and not self.teacher_reads_anew:
            teacher.text.requires_grad_(False)
        if isinstance(teacher, SkeletonCLIP) and teacher.log_scale is not None:
            used = recipe.temperature == "learned" and recipe.objective != "cross-projection"
            teacher.log_scale.requires_grad_(used and not recipe.teacher.freeze)

    @property
    def teacher_reads_anew(self) -> bool:
        """Whether its text tower learns, so that class texts are read in every step."""
        spec, teacher = self.recipe.teacher, self.teacher
        frozen = self.recipe.text.freeze if spec.freeze_text is None else spec.freeze_text
        can = isinstance(teacher, SkeletonCLIP) and teacher.text is not None and teacher.config.reads_text
        return can and not (frozen or spec.freeze)

    def checkpoint_activations(self) -> None:
        """Compute the towers' activations twice instead of keeping them."""
        if self.student is not None:
            self.student.clip.set_grad_checkpointing(True)
        if isinstance(self.teacher, SkeletonCLIP) and self.teacher.text is not None:
            self.teacher.text.set_grad_checkpointing(True)

    def shardable(self) -> list[nn.Module]:
        """Blocks that may lie apart: those that are called as modules are (X-CLIP's and FROSTER's frames are not)."""
        towers = [self.student.clip.transformer] if self.student is not None else []
        if isinstance(self.student, ViFiCLIP):
            towers.append(self.student.clip.visual.transformer)
        if isinstance(self.teacher, SkeletonCLIP) and self.teacher.text is not None:
            towers.append(self.teacher.text.transformer)
        return [block for tower in towers for block in tower.resblocks]

    def train(self, mode: bool = True) -> Pair:
        """Frozen parts keep their statistics where the recipe says so; a frozen copy never drops or counts."""
        super().train(mode)
        if self.raw is not None:
            self.raw.eval()
        if self.recipe.objective == "cross-projection":
            self.student.eval()
        if mode and self.recipe.teacher is not None and self.recipe.teacher.freeze_statistics:
            self.teacher.eval()
        return self

    def forward(
        self, frames: Tensor | None, skeleton: Tensor | None, target: Tensor, skeleton_target: Tensor
    ) -> dict[str, Tensor]:
        """frames [N, T, 3, S, S], skeleton [N, 3, T, V, M] (or int64 [N] clips of saved embeddings), targets [N, K].

        Gives `loss` and its parts, and `video`, `skeleton`: similarities [N, K], detached, for accuracy.
        """
        recipe, out, parts = self.recipe, {}, {}
        video = video_similarity = bones = bones_similarity = None
        if frames is not None:
            read = self._drawn(self.video_text)
            text = read if read.is_floating_point() else _means(self.student.text_features, read)
            if self.raw is None:
                video, video_similarity = self.student.compare(frames, text)
            else:  # single frames are needed, too
                rows = self.student.frame_features(frames)
                video = self.student.pool(rows)
                video_similarity = products(video, text)
            out["video"] = video_similarity.detach()
        if skeleton is not None:
            bones, bones_similarity = self.teacher.compare(skeleton, self._skeleton_text())
            out["skeleton"] = bones_similarity.detach()
        if video is not None and recipe.objective != "cross-projection":
            parts["video_loss"] = grouped_cross_entropy(self.video_scale() * video_similarity, target, self.groups)
        learns = isinstance(self.teacher, SkeletonCLIP) and not recipe.teacher.freeze
        if learns and recipe.objective != "cross-projection":
            logits = self.skeleton_scale() * bones_similarity
            parts["skeleton_loss"] = recipe.teacher_weight * soft_cross_entropy(logits, skeleton_target)
        if recipe.objective == "scd":
            pair = Similarities(video_similarity, bones_similarity, self.video_scale(), self.skeleton_scale())
            parts["distil_loss"] = recipe.alpha * DISTILLATION[recipe.distil](pair)
        elif recipe.objective == "feature":
            parts["distil_loss"] = recipe.alpha * feature_distance(video, bones)
        elif recipe.objective == "feature-projected":
            parts["distil_loss"] = recipe.alpha * cosine_distance(self.heads["project"](video), bones)
        elif recipe.objective == "tri-modal":
            parts["distil_loss"] = recipe.alpha * info_nce(video, bones, self.pair_log_scale.exp())
        elif recipe.objective == "cross-projection":
            scale = self.pair_log_scale.exp()
            parts["to_video_loss"] = info_nce(self.heads["to_video"](bones), video, scale)
            parts["to_skeleton_loss"] = info_nce(bones, self.heads["to_skeleton"](video), scale)
        if self.raw is not None:
            parts["residual_loss"] = recipe.student.residual * self._residual(frames, rows, read, text)
        return {"loss": torch.stack(list(parts.values())).sum(), **parts, **out}

    def video_scale(self) -> Tensor | float:
        return self.student.clip.logit_scale.exp() if self.recipe.temperature == "learned" else 1.0

    def skeleton_scale(self) -> Tensor | float:
        return self.teacher.scale if self.recipe.temperature == "learned" else 1.0

    def _drawn(self, text: Tensor) -> Tensor:
        """Of tokens [K, P, L], P above 2: in training any one prompt and the last (FROSTER's way), else all."""
        if text.is_floating_point() or text.shape[1] <= 2 or not self.training:
            return text
        return text[:, [int(torch.randint(text.shape[1] - 1, ())), -1]]

    def _skeleton_text(self) -> Tensor | None:
        """None for saved embeddings, which bring their own."""
        fixed = self.skeleton_text is None or self.skeleton_text.is_floating_point()
        return self.skeleton_text if fixed else _means(self.teacher.text, self._drawn(self.skeleton_text))

    def _residual(self, frames: Tensor, rows: Tensor, read: Tensor, text: Tensor) -> Tensor:
        """1 - cosine between frames here, projected, and frames of the frozen start; the same for texts that learn."""
        start = self.raw.frame_features(frames).detach()
        loss = cosine_distance(self.heads["residual_video"](F.normalize(rows, dim=-1)), start)
        if "residual_text" in self.heads:
            mine = self.heads["residual_text"](F.normalize(text, dim=-1))
            loss = loss + cosine_distance(mine, _means(self.raw.text_features, read))
        return loss


def _means(tower: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """tokens int64 [K, P, L] -> [K, D]."""
    return mean_of_prompts(tower(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2]))


def _raw(student: ClipModel) -> ViFiCLIP:
    """CLIP as it is before it is tuned, frame by frame: FROSTER's teacher has no temporal attention. Frozen."""
    fields = {"preprocessing": student.config.preprocessing, "activation": student.config.activation}
    text = {"context_length": student.config.text.context_length}
    raw = create_model("vificlip", arch=student.config.arch, text=text, **fields)
    raw.clip.load_state_dict(student.clip.state_dict())
    return raw.requires_grad_(False)


def _train_only_used(student: ClipModel, recipe: SkiRecipe) -> None:
    """Freeze the text tower where text is frozen, and the temperature where there is none."""
    if recipe.text.freeze:
        for name, parameter in student.clip.named_parameters():
            if not name.startswith("visual.") and name != "logit_scale":
                parameter.requires_grad_(False)
    if recipe.temperature == "none":
        student.clip.logit_scale.requires_grad_(False)
