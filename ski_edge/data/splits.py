"""Which clips train and which test, by the data sets' own rules. Indices, never copies."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from ski_edge.data.store import ClipEntry, Index, SkeletonData
from ski_edge.errors import BadInput

Split = tuple[np.ndarray, np.ndarray]  # int64 clip indices, ascending: training, test

# Training subjects of NTU RGB+D and those that NTU RGB+D 120 adds (the data sets' papers).
_XSUB60 = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
_XSUB120 = _XSUB60 | {
    *(45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103)
}
# The novel classes of the four zero-shot splits (SynSE, SKI), as action ids counted from 1; the others are base.
_NOVEL = {
    "55/5": (60, {11, 12, 20, 27, 57}),
    "48/12": (60, {4, 6, 10, 13, 16, 41, 43, 48, 52, 57, 59, 60}),
    "110/10": (120, {5, 14, 38, 44, 50, 66, 89, 96, 100, 107}),
    "96/24": (
        120,
        {6, 10, 12, 17, 19, 21, 23, 30, 36, 40, 46, 50, 60, 69, 71, 82, 85, 88, 94, 95, 105, 114, 115, 120},
    ),
}
ZERO_SHOT = tuple(_NOVEL)

_Rule = Callable[[ClipEntry], bool]
# name -> (data set, number of classes it covers or 0 for all, field it needs, whether a clip trains)
_RULES: dict[str, tuple[str, int, str, _Rule]] = {
    "xsub60": ("ntu", 60, "subject", lambda clip: clip.subject in _XSUB60),
    "xview": ("ntu", 60, "camera", lambda clip: clip.camera in (2, 3)),
    "xsub120": ("ntu", 120, "subject", lambda clip: clip.subject in _XSUB120),
    "xset": ("ntu", 120, "setup", lambda clip: clip.setup % 2 == 0),
    "cross-view": ("nw-ucla", 0, "camera", lambda clip: clip.camera in (1, 2)),
    "odd-even": ("utd-mhad", 0, "subject", lambda clip: clip.subject % 2 == 1),
}


def split(data: Index | SkeletonData, name: str) -> Split:
    """(training, test) clip indices, int64. Clips without a label are in neither.

    name: `xsub60`, `xview`, `xsub120`, `xset` (NTU), `cross-view` (NW-UCLA), `odd-even` (UTD-MHAD); `55/5`, `48/12`,
    `110/10`, `96/24`: base classes train and novel ones test, all subjects as SKI does, or `48/12@xsub60`: the
    training subjects of the one and the test subjects of the other as SynSE does; `unseen:7` or `unseen:7,seed=3`:
    the same for any data set, seven novel classes drawn by the seed (0), `unseen:sit;wave`: these classes, both also
    with `@odd-even` and such behind; `base:48/12,held=0.15`: its base classes alone, a share of them held out as SKI
    runs do (0: none, a tenth of what trained is looked at), for networks that come before; `file` or `file:NAME`: what
    the data set's own lists say; `subject:1,3,5`: these subjects train, the others test.
    """
    index = data.index if isinstance(data, SkeletonData) else data
    if name == "file" or name.startswith("file:"):
        train, test = _by_file(index, name.removeprefix("file").removeprefix(":"))
    elif name.startswith("subject:"):
        train, test = _by_subject(index, name)
    elif is_zero_shot(name):
        train, test = _zero_shot(index, name)
    elif name.startswith("base:"):
        train, test = _base(index, name)
    else:
        train, test = _by_rule(index, name)
    labelled = np.array([clip.label >= 0 for clip in index.clips], bool)
    chosen = np.flatnonzero(train & labelled), np.flatnonzero(test & labelled)
    for part, what in zip(chosen, ("train", "test"), strict=True):
        if not len(part):
            raise BadInput(
                f"split {name!r} leaves no {what} clips of {index.dataset}; choose another, or prepare all of it"
            )
    return chosen


def is_zero_shot(name: str) -> bool:
    """Whether a split trains on some classes and tests on others."""
    return name.startswith("unseen:") or name.split("@")[0] in _NOVEL


def zero_shot_classes(name: str, classes: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(seen, unseen) of a zero-shot split: 0-based labels, each ascending. Together they need not be all classes.

    classes: the data set's class names. The draw of `unseen:7,seed=3` depends on their number, 7 and 3 alone, and is
    the same with every version of everything.
    """
    if not is_zero_shot(name):
        raise BadInput(f"zero-shot split {name!r} is not known; the choices are: {', '.join(_NOVEL)}, unseen:COUNT")
    if name.startswith("unseen:"):
        covered, unseen = len(classes), _unseen(name, classes)
    else:
        covered, actions = _NOVEL[name.split("@")[0]]
        if covered > len(classes):
            raise BadInput(f"split {name!r} is of {covered} classes; there are {len(classes)}")
        unseen = {action - 1 for action in actions}
    return tuple(label for label in range(covered) if label not in unseen), tuple(sorted(unseen))


def available(index: Index) -> tuple[str, ...]:
    """Names of the splits that fit a data set."""
    names = [name for name, rule in _RULES.items() if rule[0] == index.dataset and rule[1] <= len(index.classes)]
    if index.dataset == "ntu":
        names += [name for name, (count, _) in _NOVEL.items() if count <= len(index.classes)]
    assigned = {part.partition(":")[0] for clip in index.clips for part in clip.split.split() if ":" in part}
    if len(index.classes) > 1:
        names.append("unseen:COUNT")
    names += [f"file:{scheme}" for scheme in sorted(assigned)]
    if any(clip.split and ":" not in clip.split for clip in index.clips):
        names.append("file")
    return (*names, "subject:IDS") if any(clip.subject >= 0 for clip in index.clips) else tuple(names)


def validation_part(data: Index | SkeletonData, train: np.ndarray, test: np.ndarray, share: float, seed: int) -> Split:
    """Divide training clips into (those to fit, those to validate on), so that no test clip chooses a checkpoint.

    Validation asks what the test asks: where it shows other people than training does, whole subjects are held out
    (if more than two train and no class is lost to the fit); where it shows one of the same people, as in a split by
    view, or where nobody knows, a stratified draw. share: of the clips, 0 < share < 1; by subject it is the nearest
    that whole subjects allow, at least one.
    """
    index = data.index if isinstance(data, SkeletonData) else data
    train = np.sort(np.asarray(train, np.int64))
    if not 0 < share < 1:
        raise BadInput(f"the validation share must be between 0 and 1, got {share}")
    if len(train) < 2 or train[0] < 0 or train[-1] >= len(index.clips):
        raise BadInput(f"a validation part needs at least two training clips of the data, got {len(train)} indices")
    labels = np.array([index.clips[clip].label for clip in train])
    subjects = np.array([index.clips[clip].subject for clip in train])
    rng = np.random.default_rng(seed)
    tested = {index.clips[clip].subject for clip in test} - {-1}
    others = bool(tested) and tested.isdisjoint(subjects.tolist())
    chosen = _whole_subjects(subjects, labels, share, rng) if others else None
    if chosen is None:
        chosen = _stratified(labels, share, rng)
    return train[~chosen], train[chosen]


def _by_rule(index: Index, name: str) -> Split:
    if name not in _RULES or _RULES[name][0] != index.dataset or _RULES[name][1] > len(index.classes):
        raise BadInput(
            f"split {name!r} is not one of {index.dataset}'s; the choices are: {', '.join(available(index))}"
        )
    _, classes, field, rule = _RULES[name]
    covered = [clip for clip in index.clips if not classes or clip.label < classes]
    if any(getattr(clip, field) < 0 for clip in covered):
        raise BadInput(f"split {name!r} needs the {field} of every clip, and some have none; prepare the data again")
    inside = np.array([not classes or clip.label < classes for clip in index.clips], bool)
    train = np.array([rule(clip) for clip in index.clips], bool)
    return train & inside, ~train & inside


def _unseen(name: str, classes: Sequence[str]) -> set[int]:
    """Labels that `unseen:...` names or draws."""
    asked = name.removeprefix("unseen:")
    drawn = re.fullmatch(r"(\d{1,5})(?:,seed=(\d{1,10}))?(?:@.*)?", asked, re.ASCII)
    if drawn:
        count, seed = int(drawn[1]), int(drawn[2] or 0)
        if not 0 < count < len(classes):
            raise BadInput(f"split {name!r}: of {len(classes)} classes, 1 to {len(classes) - 1} can be unseen")
        # Labels in the order of a hash: numpy's draws may change between versions, a published split may not.
        keys = [hashlib.sha256(f"{seed} {label}".encode()).digest() for label in range(len(classes))]
        return set(sorted(range(len(classes)), key=keys.__getitem__)[:count])
    wanted = [item.strip() for item in asked.partition("@")[0].split(";")]
    if strange := [item for item in wanted if item not in classes]:
        known = "; ".join(classes[:20])
        raise BadInput(
            f"split {name!r}: {strange[0]!r} is no class; write unseen:7, unseen:7,seed=3 or classes such as {known}"
        )
    if len(set(wanted)) == len(classes):
        raise BadInput(f"split {name!r} leaves no class to train on")
    return {list(classes).index(item) for item in wanted}


def _zero_shot(index: Index, name: str) -> Split:
    within = name.partition("@")[2]
    count = _NOVEL.get(name.split("@")[0], (0,))[0]
    if count and (index.dataset != "ntu" or count > len(index.classes)):
        raise BadInput(
            f"split {name!r} is of NTU RGB+D with {count} classes; this is {index.dataset} with {len(index.classes)}"
        )
    seen, unseen = zero_shot_classes(name, index.classes)
    label = np.array([clip.label for clip in index.clips], np.int64)
    base, test = np.isin(label, seen), np.isin(label, unseen)
    if within:
        first, second = _by_rule(index, within)
        base, test = base & first, test & second
    return base, test


def _base(index: Index, name: str) -> Split:
    """Only the base classes of a zero-shot split: what a network may see before the novel ones are asked for."""
    asked = name.removeprefix("base:")
    inner, _, share = asked.partition(",held=")
    if share and not re.fullmatch(r"0(\.\d{1,6})?", share, re.ASCII):
        raise BadInput(f"split {name!r}: held={share!r} must be a share from 0 to below 1, such as held=0.15")
    if not is_zero_shot(inner):
        raise BadInput(f"split {name!r}: {inner!r} divides no classes; write base:48/12, base:unseen:7 or such")
    base, novel = _zero_shot(index, inner)
    labels = np.array([clip.label for clip in index.clips], np.int64)
    clips = np.flatnonzero(base & (labels >= 0))
    if share and float(share):
        trained, chosen = validation_part(index, clips, np.flatnonzero(novel & (labels >= 0)), float(share), 0)
    else:  # all of them train, and a tenth of what trained is looked at
        trained, chosen = clips, clips[_stratified(labels[clips], 0.1, np.random.default_rng(0))]
    parts = np.zeros((2, len(labels)), bool)
    parts[0, trained] = parts[1, chosen] = True
    return parts[0], parts[1]


def _by_file(index: Index, scheme: str) -> Split:
    """`split` of a clip is one word, or several `scheme:word` where a data set has several lists."""
    assigned = []
    for clip in index.clips:
        parts = dict(part.split(":", 1) if ":" in part else ("", part) for part in clip.split.split())
        assigned.append(parts.get(scheme, ""))
    words = np.array(assigned)
    test = words == "test"
    return words == "train", test if test.any() else words == "val"


def _by_subject(index: Index, name: str) -> Split:
    ids = [item.strip() for item in name.removeprefix("subject:").split(",")]
    if not all(item.isascii() and item.isdigit() and len(item) < 10 for item in ids):
        raise BadInput(f"split {name!r} must list subject numbers, such as subject:1,3,5")
    subjects = np.array([clip.subject for clip in index.clips], np.int64)
    known = sorted(set(subjects[subjects >= 0].tolist()))
    if strange := [item for item in ids if int(item) not in known]:
        raise BadInput(
            f"split {name!r}: there is no subject {strange[0]}; {index.dataset} has: {', '.join(map(str, known))}"
        )
    train = np.isin(subjects, [int(item) for item in ids])
    return train, ~train & (subjects >= 0)


def _whole_subjects(
    subjects: np.ndarray, labels: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray | None:
    """bool [N] of clips to validate on, or None where subjects cannot be divided without losing a class."""
    ids = np.unique(subjects)
    if len(ids) <= 2 or ids[0] < 0:
        return None
    classes = len(np.unique(labels))
    for _ in range(20):
        chosen = np.zeros(len(subjects), bool)
        for subject in rng.permutation(ids)[:-1]:
            grown = chosen | (subjects == subject)
            if chosen.any() and abs(grown.mean() - share) >= abs(chosen.mean() - share):
                break
            chosen = grown
        if len(np.unique(labels[~chosen])) == classes:
            return chosen
    return None


def _stratified(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """bool [N]: of every class the same share, at least one clip where it has two."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        clips = np.flatnonzero(labels == label)
        count = min(max(round(share * len(clips)), 1), len(clips) - 1)
        chosen[rng.permutation(clips)[:count]] = True
    return chosen
