"""Labels: where their names come from, and the bank of embeddings that can change while a stream runs."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.files import read_json, read_text

LABEL_SETS = ("ntu60", "ntu120")
MAX_LABELS = 10_000  # far above any use; a wrong file (a log, a video list) should not run for hours
MAX_LABEL_CHARS = 500


@dataclass(frozen=True, slots=True)
class Label:
    """A name, and the prompts whose embeddings are averaged into the label's; none means template.format(name)."""

    name: str
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSet:
    """One state of a bank. embeddings: float32 [K, D], as the text encoder gives them; version grows with changes."""

    labels: tuple[Label, ...]
    embeddings: np.ndarray
    version: int

    @property
    def names(self) -> list[str]:
        return [label.name for label in self.labels]


def label_set(name: str) -> list[Label]:
    """A named label set: `ntu60` or `ntu120`, class A1 first."""
    text = files("ski_edge.bundle").joinpath("label_sets", f"{name}.txt").read_text("utf-8")
    return [Label(line) for line in text.splitlines()]


def read_labels(spec: str) -> list[Label]:
    """Labels from a set's name (`ntu60`), a file, or a comma-separated list.

    Files: one label a line; `.csv` with a `name` column or (id, name) rows; `.json` with a list of names or a
    mapping of name -> prompt or list of prompts. UTF-8.
    """
    if spec in LABEL_SETS:
        return label_set(spec)
    if (path := label_file(spec)) is not None:
        return read_label_file(path)
    return check_labels([Label(part.strip()) for part in spec.split(",") if part.strip()], "labels")


def read_label_file(path: Path) -> list[Label]:
    """Labels from a file, see `read_labels`."""
    return check_labels(_parse(path), str(path))


def label_file(spec: str) -> Path | None:
    """The file a label spec names, None when it is a list of labels or a set's name."""
    if spec in LABEL_SETS:
        return None
    path = Path(spec)
    try:
        exists = path.exists()
    except OSError:  # a long list is no possible file name
        return None
    if not exists and ("," in spec or path.suffix.lower() not in {".txt", ".csv", ".json"}):
        return None
    if not exists:
        raise BadInput(f"label file {path} does not exist")
    return path


def _parse(path: Path) -> list[Label]:
    if path.suffix.lower() == ".json":
        return _parse_json(path, read_json(path, "label file"))
    text = read_text(path, "label file")
    if path.suffix.lower() == ".csv":
        return _parse_csv(path, text)
    return [Label(line.strip()) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _parse_csv(path: Path, text: str) -> list[Label]:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    except csv.Error as error:
        raise BadInput(f"label file {path} is not CSV: {error}") from error
    header = [cell.lower() for cell in rows[0]] if rows else []
    column = header.index("name") if "name" in header else max(map(len, rows), default=1) - 1
    short = [i for i, row in enumerate(rows, 1) if len(row) <= column]
    if short:
        raise BadInput(f"label file {path}, row {short[0]}: no column {column + 1} (rows are id,name)")
    return [Label(row[column]) for row in rows[1 if "name" in header else 0 :]]


def _parse_json(path: Path, value: object) -> list[Label]:
    if isinstance(value, dict):
        value = [{"name": name, "prompts": prompts} for name, prompts in value.items()]
    if not isinstance(value, list):
        raise BadInput(f"label file {path} must hold a list of names or a mapping of name to prompts")
    labels = []
    for item in value:
        entry = {"name": item} if isinstance(item, str) else item
        prompts = entry.get("prompts", []) if isinstance(entry, dict) else None
        prompts = [prompts] if isinstance(prompts, str) else prompts
        strings = isinstance(prompts, list) and all(isinstance(p, str) for p in prompts)
        if not strings or not isinstance(entry.get("name"), str):
            raise BadInput(f"label file {path}: {str(item)[:60]!r} is neither a name nor a name with prompts")
        labels.append(Label(entry["name"], tuple(prompts)))
    return labels


def check_labels(labels: Iterable[Label], where: str) -> list[Label]:
    """The rules every list of labels obeys: some, not too many, printable, no name twice."""
    labels = list(labels)
    if not labels:
        raise BadInput(f"{where}: no label found; give names separated by commas, or one a line")
    if len(labels) > MAX_LABELS:
        raise BadInput(f"{where}: {len(labels)} labels, at most {MAX_LABELS} are allowed")
    seen: set[str] = set()
    for label in labels:
        for text in (label.name, *label.prompts):
            if not text.strip() or not text.isprintable() or len(text) > MAX_LABEL_CHARS:
                raise BadInput(
                    f"{where}: {text[:40]!r} is not a label; it must be 1 to {MAX_LABEL_CHARS} printable characters"
                )
        if label.name in seen:
            raise BadInput(f"{where}: the label {label.name!r} is there twice")
        seen.add(label.name)
    return labels


def labels_json(labels: Iterable[Label]) -> list[dict[str, object]]:
    """The content of a bundle's `labels.json`; `read_labels` reads it back."""
    return [{"name": label.name, "prompts": list(label.prompts)} for label in labels]


def l2_normalise(x: np.ndarray) -> np.ndarray:
    """Rows of [..., D] divided by their Euclidean norm (at least 1e-12)."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


class LabelBank:
    """Labels and their embeddings, changed with the bundle's own text encoder while streams read them.

    Readers take `current` (an immutable `LabelSet`) once per update; a change builds the next set aside and then
    swaps it in, so no reader ever sees names of one set with embeddings of another.
    """

    def __init__(
        self,
        labels: Iterable[Label],
        embeddings: np.ndarray,
        template: str,
        encode_text: Callable[[list[str]], np.ndarray] | None,
    ) -> None:
        """encode_text: list of K prompts -> [K, D], L2-normalised, or raw where the video rewrites the labels (X-CLIP);
        None when the bundle has no text encoder."""
        labels = tuple(labels)
        if embeddings.ndim != 2 or len(labels) != len(embeddings):
            raise BadInput(f"{len(labels)} labels but embeddings {embeddings.shape}; expected [{len(labels)}, D]")
        self._encode_text = encode_text
        self._template = template
        self._change = threading.Lock()
        self._current = _frozen(labels, embeddings, version=1)

    @property
    def current(self) -> LabelSet:
        return self._current

    def add(self, name: str, prompts: Iterable[str] = ()) -> LabelSet:
        """Add a label; see `embed_labels` for several prompts."""
        if isinstance(prompts, str):
            raise BadInput(f"prompts must be a list of prompts, got the text {prompts!r}; write [{prompts!r}]")
        with self._change:
            return self._swap([*self._current.labels, Label(name, tuple(prompts))])

    def remove(self, name: str) -> LabelSet:
        """Remove a label by name."""
        with self._change:
            kept = [label for label in self._current.labels if label.name != name]
            if len(kept) == len(self._current.labels):
                raise BadInput(f"no label {name!r}; the labels are: {', '.join(self._current.names)}")
            return self._swap(kept)

    def replace(self, labels: Iterable[Label | str]) -> LabelSet:
        """Replace all labels at once; those already there keep their embeddings."""
        with self._change:
            return self._swap([Label(label) if isinstance(label, str) else label for label in labels])

    def _swap(self, labels: list[Label]) -> LabelSet:
        check_labels(labels, "labels")
        known = dict(zip(self._current.labels, self._current.embeddings, strict=True))
        new = [label for label in labels if label not in known]
        if new:
            known.update(zip(new, self._encode(new), strict=True))
        embeddings = np.stack([known[label] for label in labels])
        self._current = _frozen(tuple(labels), embeddings, self._current.version + 1)
        return self._current

    def _encode(self, labels: list[Label]) -> np.ndarray:
        if self._encode_text is None:
            raise BadInput(
                f"cannot add {labels[0].name!r}: this bundle has no text encoder, its labels are fixed; "
                "convert the checkpoint again with --set base=openclip:openai"
            )
        return embed_labels(labels, self._template, self._encode_text)


def _frozen(labels: tuple[Label, ...], embeddings: np.ndarray, version: int) -> LabelSet:
    embeddings = embeddings.astype(np.float32)
    embeddings.setflags(write=False)
    return LabelSet(labels, embeddings, version)


def embed_labels(
    labels: Iterable[Label], template: str, encode_text: Callable[[list[str]], np.ndarray], batch: int = 32
) -> np.ndarray:
    """[K, D] float32: per label, the mean direction of its prompts' embeddings, as long as they are on average.

    Every prompt votes with the same weight, however long its embedding. Normalised embeddings give a normalised one.
    Of raw ones the length is kept, because a network that takes them raw (X-CLIP adds to them) was trained on that
    length: their plain mean would be shorter the more the prompts differ. One prompt is its own embedding.
    """
    prompts = [list(label.prompts) or [template.replace("{}", label.name)] for label in labels]
    flat = [prompt for group in prompts for prompt in group]
    rows = np.concatenate([encode_text(flat[i : i + batch]) for i in range(0, len(flat), batch)])
    ends = np.cumsum([len(group) for group in prompts])
    return np.stack([_mean_vote(part) for part in np.split(rows, ends[:-1])]).astype(np.float32)


def _mean_vote(rows: np.ndarray) -> np.ndarray:
    """[P, D] -> [D], see `embed_labels`."""
    return l2_normalise(l2_normalise(rows).mean(axis=0)) * np.linalg.norm(rows, axis=1).mean()
