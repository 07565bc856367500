"""The sentences that the small text towers learn: labels, descriptions, generated phrases, single words.

A *phrase* is what carries the meaning ("drinking water"); a *sentence* is a phrase alone or inside a template ("a photo
of a drinking water."). What is held out is held out by phrase, with all its templates.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from ski_edge.bundle.labels import LABEL_SETS, label_set
from ski_edge.data import names
from ski_edge.errors import BadInput
from ski_edge.files import read_text
from ski_edge.train.text.grammar import doing, generate, lists

MAX_WORDS = 24  # longer sentences are cut by the tower's context anyway
_HELD_OUT = 0.1  # share of generated phrases, descriptions and single words
_SPLIT = re.compile(r";|\t|(?<=[.!?:])\s")
_NOMINAL = re.compile(r"(a|an|the|my|some(one|body)) ", re.IGNORECASE)


@dataclass(frozen=True)
class Corpus:
    """Sentences by use. No phrase is in two of the parts."""

    train: list[str]
    held_out: dict[str, list[str]]  # phrases, descriptions and words (each with its templates), never trained on
    unseen: dict[str, list[str]]  # label sets of which no label was trained on, as names
    known: dict[str, list[str]]  # label sets that were trained on


def build(words: list[str], folder: Path | None, *, generated: int, unseen: bool, seed: int) -> Corpus:
    """words: single words, most useful first; folder: text files with labels and descriptions.

    unseen: keep SYSU's and UAV-Human's labels, and files of the latter, out of the training part.
    """
    labels = _label_sets()
    described = read_folder(folder) if folder is not None else {}
    away: dict[str, list[str]] = {}
    if unseen:
        away["sysu"] = labels.pop("sysu")
        uav = {name: lines for name, lines in described.items() if "uav" in name.lower()}
        for name, lines in uav.items():
            del described[name]
            if "label" in name.lower():
                away["uav"] = list(dict.fromkeys(lines))

    def files(kind: bool) -> list[str]:
        return [text for name, lines in described.items() if ("label" in name.lower()) == kind for text in lines]

    # Labels are what a model is asked for: all of them are trained on.
    rare = lists()["rare"]
    certain = [text for group in labels.values() for text in group] + files(True) + [*rare, *map(doing, rare)]
    kinds = {"labels": certain, "phrases": generate(generated, seed), "descriptions": files(False), "words": words}
    taken = {bare(text) for group in away.values() for text in group} | {""}
    train: list[str] = []
    held_out: dict[str, list[str]] = {kind: [] for kind in kinds if kind != "labels"}
    for kind, phrases in kinds.items():
        for phrase in phrases:
            if (key := bare(phrase)) not in taken:
                taken.add(key)
                rng = random.Random(f"{seed} {key}")  # its fate is its own, whatever else the corpus holds
                aside = kind != "labels" and rng.random() < _HELD_OUT
                sentences = _sentences(phrase, rng, everywhere=kind == "labels")
                (held_out[kind] if aside else train).extend(sentences)
    return Corpus(train, held_out, unseen=away, known=labels)


def bare(text: str) -> str:
    """What is compared when two phrases are the same: lower case, words alone."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _label_sets() -> dict[str, list[str]]:
    """Class names of the data sets that are known without any file. Smarthome writes them as one word."""
    smarthome = [name.replace(".", " ") for name in names.SMARTHOME]
    sets = {"ucla": names.UCLA, "utd": names.UTD, "pku": names.PKU, "sysu": names.SYSU, "smarthome": smarthome}
    shipped = {name: [label.name for label in label_set(name)] for name in LABEL_SETS}
    return {**{name: list(labels) for name, labels in sets.items()}, **shipped}


def _sentences(phrase: str, rng: random.Random, everywhere: bool) -> list[str]:
    """The phrase alone and in templates: all of them for labels, one or two for the others."""
    if len(phrase.split()) > 8 and not everywhere:  # a description speaks for itself
        return [phrase]
    words = lists()
    if everywhere:
        chosen = words["plain"]
    elif _NOMINAL.match(phrase):  # "a photo of a a cup." is nothing to learn
        chosen = [rng.choice(words["nominal"])]
    else:
        chosen = [words["plain"][0], rng.choice([*words["plain"][1:], *words["personal"]])]
    return list(dict.fromkeys([phrase, *(template.replace("{}", phrase) for template in chosen)]))


def read_folder(folder: Path) -> dict[str, list[str]]:
    """Phrases of every .txt and .csv file below a folder, by relative path.

    One entry a line; a csv's last column; numbers before an entry are dropped, lists and sentences are taken apart, and
    names written as ApplyEyeMakeup or brush_hair become words.
    """
    if not folder.is_dir():
        raise BadInput(f"text folder {folder} is not a folder; give one with .txt or .csv files of labels")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in {".txt", ".csv"}:
            lines = read_text(path, "text file").splitlines()
            table = path.suffix.lower() == ".csv"
            apart = "," if "synonym" in path.name.lower() else None
            found[path.relative_to(folder).as_posix()] = _phrases(lines[1:] if table else lines, apart)
    if not any(found.values()):
        raise BadInput(f"text folder {folder} holds no .txt or .csv file with phrases")
    return found


def _phrases(lines: list[str], apart: str | None) -> list[str]:
    phrases = []
    for line in lines:
        line = re.sub(r"^\s*\d+\s*[:,]\s*", "", line).strip()
        for part in line.split(apart) if apart else _SPLIT.split(line):
            text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).replace("_", " ").strip(' \t"')
            if 0 < len(text.split()) <= MAX_WORDS and re.search(r"[a-zA-Z]{2}", text):
                phrases.append(text)
    return phrases
