"""Class names and the sentences that stand for them: files in, files out. No network reads anything here."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ski_edge.data.splits import zero_shot_classes
from ski_edge.errors import BadInput
from ski_edge.files import read_text, write_text

_MOST_CHARS = 2000  # of a description; a wrong file should not become text embeddings
_FROSTER_KINDS = ("photo", "video", "example", "demonstration")
_FROSTER_ENDS = ("of", "of a person", *(f"of a person {verb}" for verb in ("using", "doing", "during")))
_FROSTER_ENDS += tuple(f"of a person {verb}" for verb in ("performing", "practicing"))
DESCRIPTIONS = Path(__file__).parent / "descriptions"  # of data sets, in our words
TEMPLATES: dict[str, tuple[str, ...]] = {
    "bare": ("{}",),  # X-CLIP, and CLIP without fine-tuning
    "vifi": ("a photo of a {}.",),  # ViFi-CLIP and SKI, with the period
    "froster": tuple(f"a {kind} {end} {{}}." for kind in _FROSTER_KINDS for end in _FROSTER_ENDS),
}


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in the order of their labels: one a line, or the official csv with rows `id,name` from 0 on."""
    lines = read_text(path, "class names").splitlines()
    if path.suffix.lower() == ".csv":
        try:
            rows = [[cell.strip() for cell in row] for row in csv.reader(lines, strict=True) if any(row)]
        except csv.Error as error:
            raise BadInput(f"{path} is not CSV: {error}") from error
        if rows and rows[0] == ["id", "name"]:
            rows = rows[1:]
        for number, row in enumerate(rows):
            if len(row) != 2 or row[0] != str(number):
                raise BadInput(f"{path}: the row of class {number} must be {number},name, got {','.join(row)[:80]!r}")
        names = [row[1] for row in rows]
    else:
        names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise BadInput(f"{path} names no classes")
    for number, name in enumerate(names):
        if not name or not name.isprintable():
            raise BadInput(f"{path}: class {number} has no name that can be printed")
        if names.index(name) != number:
            raise BadInput(f"{path}: {name!r} is there twice")
    return tuple(names)


def write_classes(path: Path, names: Sequence[str]) -> None:
    """The official csv: `id,name`, ids from 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "name"))
    writer.writerows(enumerate(names))
    write_text(path, text.getvalue())


def write_split_classes(folder: Path, classes: Sequence[str], split: str) -> tuple[Path, Path]:
    """Write SPLIT_base.csv and SPLIT_novel.csv of a zero-shot split; ids are counted anew in each, ascending."""
    seen, unseen = zero_shot_classes(split, classes)
    stem = split.partition("@")[0].replace("/", "-").replace(":", "-").replace(",", "-").replace("=", "")
    if ";" in stem:
        stem = "unseen-named"
    paths = folder / f"{stem}_base.csv", folder / f"{stem}_novel.csv"
    for path, labels in zip(paths, (seen, unseen), strict=True):
        write_classes(path, [classes[label] for label in labels])
    return paths


def read_prompts(path: Path) -> dict[str, str]:
    """Descriptions of classes by name, from lines `name: description`. Empty lines and lines with # are passed over."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path, "descriptions").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, text = (part.strip() for part in line.partition(":"))
        if not colon or not name or not text:
            raise BadInput(f"{path}, line {number}: expected name: description, got {line[:60]!r}")
        if name in found:
            raise BadInput(f"{path}, line {number}: {name!r} is described twice")
        if len(text) > _MOST_CHARS or not text.isprintable():
            raise BadInput(f"{path}, line {number}: a description has at most {_MOST_CHARS} printable characters")
        found[name] = text
    if not found:
        raise BadInput(f"{path} describes no class")
    return found


def prompts_file(prompts: Path) -> Path:
    """A file of descriptions: one that ships, by its name (`utd`), or the user's own."""
    shipped = DESCRIPTIONS / f"{prompts}.txt"
    return shipped if shipped.is_file() else prompts


def read_templates(spec: str) -> tuple[str, ...]:
    """`bare`, `vifi` or `froster`, or a file with a template a line; each has one {} for the class name."""
    if spec in TEMPLATES:
        return TEMPLATES[spec]
    path = Path(spec)
    if not path.is_file():
        raise BadInput(f"templates {spec!r} are not known; the choices are: {', '.join(TEMPLATES)}, or a file")
    lines = [line.strip() for line in read_text(path, "templates").splitlines() if line.strip()]
    for line in lines:
        if line.count("{}") != 1:
            raise BadInput(f"{path}: a template needs exactly one {{}} for the class name, got {line[:80]!r}")
    if not lines:
        raise BadInput(f"{path} holds no template")
    return tuple(lines)


def class_prompts(
    classes: Sequence[str], templates: str = "vifi", descriptions: Mapping[str, str] | None = None
) -> dict[str, tuple[str, ...]]:
    """Sentences of each class, by name: its templates, or its description where it has one.

    froster: each template with the name, then the name with its description once more, and that alone at the end: 29
    in all, as its official code builds them; training draws one of the first 28 and takes the last.
    """
    described = descriptions or {}
    if strange := sorted(described.keys() - set(classes)):
        raise BadInput(f"{strange[0]!r} is described, but is no class; the classes are {'; '.join(classes)[:200]}")
    patterns = read_templates(templates)
    prompts: dict[str, tuple[str, ...]] = {}
    for name in classes:
        filled = tuple(pattern.replace("{}", name) for pattern in patterns)
        if templates == "froster":
            whole = f"{name}: {described[name]}" if name in described else name
            prompts[name] = (*(f"{sentence} {whole}" for sentence in filled), whole)
        else:
            prompts[name] = (described[name],) if name in described else filled
    return prompts
