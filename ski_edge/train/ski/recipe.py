"""One SKI run, in one YAML file. `kind: ski` tells it from the recipes of skeleton classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ski_edge.contracts import Contract
from ski_edge.data.rendered.world import RenderedFrames, RenderedWorld
from ski_edge.models.archs import ARCHS
from ski_edge.skeleton import SkeletonInput
from ski_edge.train.recipe import SkeletonAugment
from ski_edge.train.video_recipe import VideoRecipe

Objective = Literal[
    "skeletonclip",  # skeleton to text: SKI's stage 1
    "captions",  # single frames to phrases about them: what a small student knows before it meets actions
    "student",  # video to text: the student by itself
    "scd",  # both to text, and their similarity matrices to each other (paper, eq. 3)
    "feature",  # feature distillation: video's embedding to the skeleton's
    "feature-projected",  # the same through a residual projection, as FROSTER's
    "tri-modal",  # video, skeleton and text to each other, in pairs (AudioCLIP's way)
    "cross-projection",  # the skeleton learns from a frozen video tower through projections (Wav2CLIP's way)
]
SEES_VIDEO = {"captions", "student", "scd", "feature", "feature-projected", "tri-modal", "cross-projection"}
SEES_SKELETON = {"skeletonclip", "scd", "feature", "feature-projected", "tri-modal", "cross-projection"}


class Data(Contract):
    """What a run learns from. Skeletons are prepared data; videos are files, or drawn from the skeletons."""

    skeletons: Path
    videos: Path | None = None  # folder of NTU's names, or the official code's csv; None: rendered
    root: Path | None = None  # where the csv's names begin
    checked: Path | None = None  # what `ski-edge data check --list` wrote: files it finds unusable are left out
    rendered: RenderedWorld | None = None
    described: RenderedFrames | None = None  # captions: frames drawn of these skeletons
    split: str = ""  # base classes train, novel ones are never shown; see ski_edge.data.splits
    seen_test_share: float = Field(0.15, ge=0, lt=0.5)  # of the base classes' clips, held out; 0: none (as SKI does)

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        sources = [name for name in ("videos", "rendered", "described") if getattr(self, name) is not None]
        if len(sources) > 1:
            raise ValueError(f"{' and '.join(sources)} exclude each other")
        if not self.split and self.described is None:
            raise ValueError("split is missing: which classes train and which are never shown, such as 48/12, unseen:7")
        return self


class Text(Contract):
    """How class names become embeddings."""

    encoder: Literal["tower", "sentence"] = "tower"  # CLIP's text tower of the networks, or a frozen sentence encoder
    arch: str = "ViT-B-16"  # of the tower of a teacher that is trained without a student
    init: str = "random"  # that tower's weights: a checkpoint folder or file, openclip:TAG
    freeze: bool = True  # tower: whether it stays as it is (paper); the official code trains it
    template: str = Field("a photo of a {}.", pattern=r"^[^{}]*\{\}[^{}]*$")  # one {} for the class name
    # Several sentences of each class in its place: vifi, bare, froster, or a file with a template a line. Their
    # embeddings are averaged; where texts learn, a step reads two of them, any one and the last (FROSTER).
    templates: str | None = None
    # File of `name: description` lines, or one that ships (utd); a name that is not in it keeps the template
    prompts: Path | None = None

    @model_validator(mode="after")
    def _sentence_is_frozen(self) -> Text:
        if self.encoder == "sentence" and not self.freeze:
            raise ValueError("the sentence encoder is not trained; set text.freeze: true")
        return self


class Student(Contract):
    """The video network."""

    model: Literal["vificlip", "xclip", "froster", "ski-vificlip", "ski-xclip", "ski-froster"] = "ski-vificlip"
    arch: Literal[tuple(ARCHS)] = "ViT-B-16"
    # random; a checkpoint folder or file; openclip:TAG; recipe:NAME (that recipe is run first, on the same data; with
    # #teacher behind it, the teacher as that run left it)
    init: str = "random"
    options: dict[str, Any] = Field(default_factory=dict)  # further fields of the model's config
    # Text tower that goes into the checkpoint, where a sentence encoder stands in for it in training: a folder that
    # ski_edge.train.text wrote, or shipped (that of the weights which ship under this model's name)
    text_tower: str | None = None
    # FROSTER: weight of the residual distillation from the frozen initial network; 0: none
    residual: float = Field(0.0, ge=0)


class Teacher(Contract):
    """The skeleton network, or its saved embeddings."""

    init: str = "random"  # as the student's
    # Of a random teacher; one that is loaded is what it is
    backbone: str | None = None  # None: hyperformer
    arch: Literal["base", "small", "tiny"] | None = None  # None: base
    backbone_init: str | None = None  # a skeleton classifier whose trunk it takes; recipe:NAME
    skeleton: SkeletonInput | None = None
    skeleton_norm: bool | None = None  # None, True (paper): cosine; False (official code): the raw vector

    augment: SkeletonAugment = SkeletonAugment()
    freeze: bool = False  # True: offline distillation
    freeze_text: bool | None = None  # its text tower; None: as text.freeze says of all
    freeze_statistics: bool = False  # BatchNorm, too; the official offline variant leaves it in training mode
    # npz of any skeleton-text model: names [N], embeddings [N, D], classes [K], class_embeddings [K, D]
    embeddings: Path | None = None

    @model_validator(mode="after")
    def _a_trained_network_is_what_it_is(self) -> Teacher:
        own = ("backbone", "arch", "backbone_init", "skeleton", "skeleton_norm")
        if self.init != "random" and (said := [name for name in own if getattr(self, name) is not None]):
            raise ValueError(f"{said[0]} is a matter of the network that init names ({self.init}); leave it away here")
        return self


class Optim(Contract):
    """AdamW, warm-up, cosine per step."""

    epochs: int = Field(gt=0, le=10_000)
    batch_size: int = Field(32, gt=1)  # clips of one step of one accumulation, over all processes
    accumulate: int = Field(1, ge=1)  # batches per step
    lr: float = Field(2.2e-5, gt=0)
    lr_min: float = Field(0.01, ge=0, le=1)  # of lr, at the end
    warmup_epochs: float = Field(0.0, ge=0)  # linear from warmup_start
    warmup_start: float = Field(0.0, ge=0, le=1)  # of lr
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    decay_vectors: bool = False  # weight decay on biases, norms and other 1-D parameters (SKI, ViFi-CLIP do)
    clip_norm: float = Field(0.0, ge=0)  # largest gradient norm; 0: no limit
    # factor of lr for parameters whose name begins so: {"student.messages": 10}; 0 freezes them
    lr_factors: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    average: Literal["none", "epochs", "ema"] = "none"  # epochs: mean of the weights after each (FROSTER)
    average_from: int = Field(1, ge=1)  # first epoch of the mean
    ema_decay: float = Field(0.999, gt=0, lt=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    checkpoint_activations: bool = False  # compute towers twice instead of keeping their activations
    compile: bool = False
    shard: bool = False  # FSDP: weights, gradients and moments divided among the processes (ViT-L)
    save_every: int = Field(0, ge=0)  # steps between saved states inside an epoch; 0: after epochs only

    @model_validator(mode="after")
    def _average_begins(self) -> Optim:
        if self.average == "epochs" and self.average_from > self.epochs:
            raise ValueError(f"average_from {self.average_from} comes after the last of {self.epochs} epochs")
        if self.shard and self.compile:
            raise ValueError("shard and compile exclude each other; leave one away")
        if self.shard and self.precision == "fp16":
            raise ValueError("shard clips gradients that fp16 has scaled; use bf16 with it")
        return self


class SkiRecipe(Contract):
    """One run of SKI training: an objective, the networks it needs, data and optimisation."""

    kind: Literal["ski"] = "ski"
    objective: Objective
    data: Data
    text: Text = Text()
    student: Student | None = None
    teacher: Teacher | None = None
    video: VideoRecipe | None = None

    distil: Literal["mse", "kl", "contrastive"] = "mse"
    alpha: float = Field(1.0, ge=0)  # of the distillation (paper: 0.01 on NTU-60, 10 on NTU-120)
    teacher_weight: float = Field(1.0, ge=0)  # of the skeleton's own cross-entropy
    temperature: Literal["learned", "none"] = "learned"  # of both cross-entropies (paper: tau; official code: none)
    # Where learned temperatures begin (1 / tau) in networks that begin at random. CLIP's is 14.3; class texts of a
    # sentence encoder lie so close to each other that cosines must be stretched more to tell them apart.
    start_scale: float = Field(1 / 0.07, gt=0, le=100)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    # The official code trains the skeleton against labels that were mixed for the images; its clips are not mixed
    mix_skeleton_labels: bool = False

    # Precision of the bundle that `ski-edge train` makes at the end
    bundle: Literal["fp32", "fp16-storage"] | None = None
    optim: Optim
    seed: int = Field(1, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _parts_fit(self) -> SkiRecipe:
        wants = {"student": SEES_VIDEO, "teacher": SEES_SKELETON}
        for part, objectives in wants.items():
            if (self.objective in objectives) != (getattr(self, part) is not None):
                need = "needs" if self.objective in objectives else "has no use for"
                raise ValueError(f"objective {self.objective} {need} a {part}")
        if self.mix_skeleton_labels and self.video is None:
            raise ValueError("mix_skeleton_labels needs video: mixup_alpha, cutmix_alpha, switch_prob")
        if self.bundle is not None and self.student is None:
            raise ValueError("a bundle needs a student: a skeletonclip is not deployed")
        if self.bundle is not None and self.text.encoder == "sentence" and self.student.text_tower is None:
            raise ValueError("a bundle reads text itself: set student.text_tower beside the sentence encoder")
        if self.student is not None and self.student.options and self.student.init.startswith(("recipe:", "openclip:")):
            raise ValueError("student.options are for a network that begins at random; this one has an init")
        if self.student is not None and self.video is None:
            raise ValueError("a student needs video: frames, sampling, augmentation")
        if (self.objective == "captions") != (self.data.described is not None):
            raise ValueError("objective captions needs data.described, and nothing else does")
        sources = (self.data.videos, self.data.rendered, self.data.described)
        if self.student is not None and not any(source is not None for source in sources):
            raise ValueError("a student needs data.videos or data.rendered")
        drawn = self.data.rendered
        if drawn is not None and self.student is not None and self.video.frames > drawn.frames:
            raise ValueError(f"video.frames is {self.video.frames}, data.rendered.frames {drawn.frames}; draw more")
        if self.teacher is not None and self.teacher.embeddings is not None and self.objective != "scd":
            raise ValueError("saved embeddings can teach by scd only")
        return self
