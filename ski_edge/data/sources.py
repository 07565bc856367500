"""What `data prepare` knows of each data set: which files, what their names say, which reader, what the index gets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ski_edge.data import folder, names, ntu, pku, smarthome, sysu, ucla, utd
from ski_edge.data.denoise import to_clip
from ski_edge.data.plans import Clip, Plan, PrepareOptions, find
from ski_edge.data.store import ClipEntry
from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import COCO17, KINECT20, NTU25, UTD20, Layout, get_layout


def plan_ucla(raw: Path, options: PrepareOptions) -> Plan:
    """NW-UCLA as it is; training centres it."""
    return Plan(
        dataset="nw-ucla",
        files=find(raw, "a??_s??_e??_v??.json", "NW-UCLA's all_sqe/*.json"),
        read=read_ucla_clip,
        layout=KINECT20,
        classes=names.UCLA,
        licence="unknown: ask its authors (Wang et al., Cross-view Action Modeling, CVPR 2014)",
    )


def read_ucla_clip(path: Path, skipped: list[tuple[str, str]]) -> list[Clip]:
    ids, joints = ucla.parse_name(path), ucla.read_ucla(path)
    entry = ClipEntry(
        name=path.stem, label=ids["label"], frames=len(joints), subject=ids["subject"], camera=ids["camera"]
    )
    return [Clip(entry, joints[:, None])]


def plan_utd(raw: Path, options: PrepareOptions) -> Plan:
    """UTD-MHAD in the joint order of its files."""
    return Plan(
        dataset="utd-mhad",
        files=find(raw, "a*_s*_t*_skeleton.mat", "UTD-MHAD's Skeleton/*.mat"),
        read=read_utd_clip,
        layout=UTD20,
        classes=names.UTD,
        licence="freely available, public domain (its authors)",
    )


def read_utd_clip(path: Path, skipped: list[tuple[str, str]]) -> list[Clip]:
    ids, joints = utd.parse_name(path), utd.read_utd(path)
    entry = ClipEntry(
        name=path.stem.removesuffix("_skeleton"), label=ids["label"], frames=len(joints), subject=ids["subject"]
    )
    return [Clip(entry, joints[:, None])]


def plan_ntu(raw: Path, options: PrepareOptions) -> Plan:
    """NTU RGB+D through CTR-GCN's pipeline: denoised, two actors, origin at actor 1's first spine mid."""
    files, skipped = _unique(find(raw, "S*.skeleton", "NTU's *.skeleton files"))
    lists = [options.missing] if options.missing else _missing_lists(raw)
    missing = frozenset().union(*(ntu.read_names(path) for path in lists))
    notes = (
        [f"samples left out as listed in {', '.join(path.name for path in lists)}"]
        if lists
        else [
            "no list of samples with missing skeletons was found; give NTU's with --missing to get the official counts"
        ]
    )
    skipped += [(file.name, "listed as a sample with missing skeletons") for file in files if file.stem in missing]
    files = [file for file in files if file.stem not in missing]
    first = [file for file in files if not re.search(r"A(06[1-9]|0[789]\d|1\d\d)\.skeleton$", file.name)]
    subset = options.subset or ("60" if len(first) == len(files) else "120")
    if subset == "60" and len(first) < len(files):
        notes.append(f"{len(files) - len(first)} files of actions above 60 left out (subset 60)")
        files = first
    return Plan(
        dataset="ntu",
        files=tuple(files),
        read=read_ntu_clip,
        layout=NTU25,
        classes=tuple(f"A{action:03d}" for action in range(1, int(subset) + 1)),
        persons=2,
        centred=True,
        second_body=options.second_body or ("zeros" if subset == "60" else "copy"),
        licence="NTU RGB+D: academic research only, no redistribution",
        notes=tuple(notes),
        skipped=tuple(skipped),
    )


def _unique(files: tuple[Path, ...]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Files with a name of their own, and those that repeat one."""
    first: dict[str, Path] = {}
    skipped = []
    for file in files:
        if first.setdefault(file.name, file) is not file:
            skipped.append((str(file), f"the same sample as {first[file.name]}"))
    return list(first.values()), skipped


def _missing_lists(raw: Path) -> list[Path]:
    """NTU's own lists, where they lie below the files or beside their folder."""
    pattern = "*samples_with_missing_skeletons.txt"
    return sorted({*raw.rglob(pattern), *raw.resolve().parent.glob(pattern)})


def read_ntu_clip(path: Path, skipped: list[tuple[str, str]]) -> list[Clip]:
    ids = ntu.parse_name(path)
    joints = to_clip(ntu.read_ntu(path), str(path))
    entry = ClipEntry(
        name=path.stem,
        label=ids["label"],
        frames=len(joints),
        subject=ids["subject"],
        camera=ids["camera"],
        setup=ids["setup"],
    )
    return [Clip(entry, joints)]


def plan_sysu(raw: Path, options: PrepareOptions) -> Plan:
    """SYSU 3D-HOI; people are numbered in the order of their folders' names."""
    files = find(raw, sysu.FILE, f"SYSU's PERSON/video1/{sysu.FILE}")
    people = sorted({file.parent.parent.name for file in files})
    return Plan(
        dataset="sysu",
        files=tuple(sorted(files)),
        read=partial(read_sysu_clip, people=people),
        layout=KINECT20,
        classes=names.SYSU,
        notes=("the layout of SYSU's files is unverified; look at a few clips before you train on them",),
    )


def read_sysu_clip(path: Path, skipped: list[tuple[str, str]], people: list[str]) -> list[Clip]:
    ids, joints = sysu.parse_path(path), sysu.read_sysu(path)
    person = path.parent.parent.name
    name = f"{person}_{path.parent.name}"
    entry = ClipEntry(name=name, label=ids["label"], frames=len(joints), subject=people.index(person) + 1)
    return [Clip(entry, joints[:, None])]


def plan_smarthome(raw: Path, options: PrepareOptions) -> Plan:
    """Toyota Smarthome's 2D poses, scaled to metres."""
    return Plan(
        dataset="smarthome",
        files=find(raw, "*_p??_r??_v??_c??*.npz", "Toyota Smarthome's *_Alphapose2d.npz files"),
        read=read_smarthome_clip,
        layout=COCO17,
        classes=names.SMARTHOME,
        fps=20.0,  # of the set's videos
        licence="unknown: see the agreement of Toyota Smarthome",
        notes=("2D keypoints: z is 0, the scale makes every clip's torso 0.5 m",),
    )


def read_smarthome_clip(path: Path, skipped: list[tuple[str, str]]) -> list[Clip]:
    ids, joints = smarthome.parse_name(path), smarthome.read_smarthome(path)
    entry = ClipEntry(
        name=path.stem, label=ids["label"], frames=len(joints), subject=ids["subject"], camera=ids["camera"]
    )
    return [Clip(entry, joints[:, None])]


def plan_pku(raw: Path, options: PrepareOptions) -> Plan:
    """PKU-MMD cut into its actions. Labels and splits are found by the names of their folders and files."""
    texts = find(raw, "*.txt", "PKU-MMD's skeleton, label and split files")
    recordings = [file for file in texts if re.fullmatch(pku.NAME, file.stem)]
    labels = {file.stem: file for file in recordings if "label" in file.parent.name.lower()}
    files = tuple(file for file in recordings if "label" not in file.parent.name.lower())
    if not files or not labels:
        raise BadInput(
            f"--raw {raw} must hold PKU-MMD's skeleton files (0002-L.txt, ...) and, in a folder with `label` in its "
            f"name, label files of the same names; found {len(files)} and {len(labels)}"
        )
    splits = {
        scheme: pku.read_pku_split(file)
        for scheme, words in (("xsub", ("cross", "subject")), ("xview", ("cross", "view")))
        for file in texts
        if all(word in file.stem.lower() for word in words)
    }
    notes = () if len(splits) == 2 else ("cross-subject or cross-view list not found: those splits are not available",)
    return Plan(
        dataset="pku-mmd",
        files=files,
        read=partial(read_pku_clips, labels=labels, splits=splits),
        layout=NTU25,
        classes=names.PKU,
        persons=2,
        licence="unknown: ask the authors of PKU-MMD",
        notes=notes,
    )


def read_pku_clips(
    path: Path, skipped: list[tuple[str, str]], labels: dict[str, Path], splits: dict[str, dict[str, str]]
) -> list[Clip]:
    if path.stem not in labels:
        raise BadInput(f"{path.name} has no label file")
    camera, frames, clips = pku.camera_of(path.stem), pku.read_pku(path), []
    split = " ".join(f"{scheme}:{of[path.stem]}" for scheme, of in splits.items() if path.stem in of)
    for number, action in enumerate(pku.read_pku_labels(labels[path.stem])):
        name = f"{path.stem}_{number:03d}"
        joints = frames[action.start : action.stop]  # an end behind the last frame is cut there, as others do
        if not joints.any():
            skipped.append((name, f"frames {action.start} to {action.stop} of {len(frames)} hold nobody"))
            continue
        entry = ClipEntry(name=name, label=action.label, frames=len(joints), camera=camera, split=split)
        clips.append(Clip(entry, joints))
    return clips


def plan_folder(raw: Path, options: PrepareOptions) -> Plan:
    """A folder of the user's own clips with a table of labels."""
    if options.layout is None:
        raise BadInput("--layout is needed: which joints the clips have (a name such as kinect20, or a YAML file)")
    layout = get_layout(options.layout)
    table = folder.read_labels(options.labels or raw / "labels.csv")
    found = {folder.key_of(file.relative_to(raw).as_posix()): file for file in _own_clips(raw, options)}
    files = {key: file for key, file in sorted(found.items()) if key in table}
    if not files:
        raise BadInput(f"none of the {len(table)} names in the table is one of {len(found)} clips below {raw}")
    labels = {row.label for row in table.values()}
    numeric = all(label.isascii() and label.isdigit() for label in labels)
    classes = tuple(sorted(labels, key=(lambda label: (int(label), label)) if numeric else None))
    rows = {str(file): (key, table[key]) for key, file in files.items()}
    return Plan(
        dataset="folder",
        files=tuple(files.values()),
        read=partial(read_own_clip, layout=layout, classes=classes, rows=rows),
        layout=layout,
        classes=classes,
        persons=max(1, *(folder.count_bodies(file, layout) for file in files.values())),
        fps=options.fps or 30.0,
        skipped=(
            *((str(file), "not in the table of labels") for key, file in found.items() if key not in table),
            *((key, "in the table of labels, but there is no such file") for key in table if key not in found),
        ),
    )


def _own_clips(raw: Path, options: PrepareOptions) -> list[Path]:
    if not raw.is_dir():
        raise BadInput(f"--raw {raw} is not a folder; give the folder with your clips")
    table = (options.labels or raw / "labels.csv").resolve()
    files = (path for path in raw.rglob("*") if path.suffix in folder.SUFFIXES and path.resolve() != table)
    return sorted(path for path in files if path.is_file())


def read_own_clip(
    path: Path,
    skipped: list[tuple[str, str]],
    layout: Layout,
    classes: tuple[str, ...],
    rows: dict[str, tuple[str, folder.Row]],
) -> list[Clip]:
    key, row = rows[str(path)]
    joints = folder.read_clip(path, layout)
    label = classes.index(row.label)
    return [Clip(ClipEntry(name=key, label=label, frames=len(joints), subject=row.subject, split=row.split), joints)]


@dataclass(frozen=True)
class Source:
    """A word of `data prepare`: how its plan is made and which options concern it."""

    plan: Callable[[Path, PrepareOptions], Plan]
    takes: frozenset[str] = frozenset()


SOURCES = {
    "ntu": Source(plan_ntu, frozenset({"subset", "second_body", "missing"})),
    "ucla": Source(plan_ucla),
    "utd": Source(plan_utd),
    "pku": Source(plan_pku),
    "sysu": Source(plan_sysu),
    "smarthome": Source(plan_smarthome),
    "folder": Source(plan_folder, frozenset({"labels", "layout", "fps"})),
}


def make_plan(dataset: str, raw: Path, options: PrepareOptions | None = None) -> Plan:
    """The plan of a data set (a key of SOURCES). An option that does not concern it is an error."""
    options = options or PrepareOptions()
    if dataset not in SOURCES:
        raise BadInput(f"data set {dataset!r} is not known; the choices are: {', '.join(SOURCES)}")
    source = SOURCES[dataset]
    given = {name for name, value in options if value is not None}
    if strange := sorted(given - source.takes):
        flag = f"--{strange[0].replace('_', '-')}"
        raise BadInput(
            f"{flag} does not concern {dataset}; it takes: {', '.join(sorted(source.takes)) or 'no options'}"
        )
    return source.plan(raw, options)
