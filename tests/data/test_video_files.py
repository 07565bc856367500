"""Videos on the disk: lists, decoding, damage, the cache, skeletons of the same name."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from ski_edge.contracts import Preprocessing
from ski_edge.data import ClipEntry, Index, open_data, write_data
from ski_edge.data.video import CachedVideos, CsvVideos, NtuVideos, VideoFiles, open_videos, pair, unpaired
from ski_edge.data.video.crops import resize_short
from ski_edge.data.video.csv_list import read_list
from ski_edge.data.video.decode import probe, promised_frames, read_frames
from ski_edge.data.video.files import CheckedFiles, FileCheck, read_checked, stamp, write_checked
from ski_edge.data.video.views import Views, view_clip
from ski_edge.errors import BadInput
from ski_edge.runtime.preprocess import preprocess_clip, sample_indices
from ski_edge.skeleton import get_layout


def write_video(path, frames, seed=0, size=(48, 64), codec="MJPG"):
    """A file whose frame t has a brightness of its own, so that a wrong frame shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 30, size[::-1])
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 40, (*size, 3))
    for number in range(frames):
        writer.write((background + 20 + number * 190 // max(frames - 1, 1)).astype(np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six NTU-named files of 20 to 25 frames, actions 1, 2 and 3."""
    root = tmp_path_factory.mktemp("rgb")
    for number in range(6):
        write_video(root / f"S00{number // 3 + 1}C001P001R00{number}A00{number % 3 + 1}_rgb.avi", 20 + number, number)
    return root


def all_frames(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        decoded, frame = capture.read()
        if not decoded:
            return np.stack(frames)[..., ::-1]
        frames.append(frame)


def test_any_frames_in_any_order(clips):
    path = sorted(clips.iterdir())[0]
    every = all_frames(path)
    assert len(every) == 20
    indices = np.array([19, 3, 3, 0, 7])
    got = read_frames(path, indices, 20)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, every[indices])
    np.testing.assert_array_equal(read_frames(path, np.arange(20), 20), every)
    np.testing.assert_array_equal(read_frames(path, indices, 20, short=30), resize_short(every[indices], 30))


@pytest.mark.parametrize("codec", ["MJPG", "mp4v"])
def test_jumps_find_the_same_frames(tmp_path, codec, monkeypatch):
    path = write_video(tmp_path / ("x.avi" if codec == "MJPG" else "x.mp4"), 400, size=(16, 16), codec=codec)
    facts = probe(path)
    assert (facts.frames, facts.height, facts.width, facts.fps, facts.steady) == (400, 16, 16, 30, True)
    indices = np.array([2, 170, 171, 399])
    want = read_frames(path, indices, 400)
    grabbed = []
    opened = cv2.VideoCapture

    class Counting:
        def __init__(self, *arguments):
            self._capture = opened(*arguments)

        def __getattr__(self, name):
            return getattr(self._capture, name)

        def grab(self):
            grabbed.append(1)
            return self._capture.grab()

    monkeypatch.setattr(cv2, "VideoCapture", Counting)
    np.testing.assert_array_equal(read_frames(path, indices, 400, steady=True), want)
    assert len(grabbed) < 10


def test_real_files(videos):
    steady = {}
    for path in sorted(videos.rglob("*.*")):
        if path.suffix not in (".mp4", ".avi", ".mkv", ".mov") or path.name == "corrupted.mp4":
            continue
        facts = probe(path)
        length = promised_frames(path)
        assert abs(length - facts.frames) <= 1
        indices = sample_indices(length, 8)
        got = read_frames(path, indices, length)
        every = all_frames(path)
        assert got.shape[1:3] == (facts.height, facts.width)
        np.testing.assert_array_equal(got, every[np.minimum(indices, len(every) - 1)])
        steady[path.name] = facts.steady
    assert steady["demo.mp4"]
    assert not steady["test.avi"]  # its times run backwards once
    assert sum(steady.values()) >= 10


def test_ntu_video_is_what_the_runtime_sees(ntu_samples):
    source = NtuVideos(ntu_samples / "NTU", [f"A{action}" for action in range(1, 61)])
    assert (source.names, source.labels.tolist()) == (("S001C001P001R001A001",), [0])
    assert source.length(0) == 103
    spec = Preprocessing()
    got = view_clip(source, 0, Views(frames=4, preprocessing=spec))[0]
    want = preprocess_clip(read_frames(source.path(0), sample_indices(103, 4), 103), spec)
    levels = want * np.array(spec.std)[:, None, None] + np.array(spec.mean)[:, None, None]
    np.testing.assert_array_equal(got, np.rint(levels).transpose(0, 2, 3, 1))


def test_a_file_shorter_than_it_says(videos):
    path = videos / "decord" / "corrupted.mp4"
    with pytest.raises(BadInput, match=r"corrupted.mp4: the header says 50 frames, 28 decode"):
        probe(path)
    assert promised_frames(path) == 50
    with pytest.raises(BadInput, match=r"corrupted.mp4: frame 28 of 50 does not decode.*data check"):
        read_frames(path, np.array([0, 28]), 50)
    assert len(read_frames(path, np.array([0, 27]), 50)) == 2


def test_an_estimate_one_too_long_repeats_the_last_frame(clips):
    path = sorted(clips.iterdir())[0]
    got = read_frames(path, np.array([19, 20]), 21)
    np.testing.assert_array_equal(got[0], got[1])
    with pytest.raises(BadInput, match="frame 20 of 22"):
        read_frames(path, np.array([20]), 22)
    with pytest.raises(BadInput, match="were asked for, it has 20"):
        read_frames(path, np.array([20]), 20)


@pytest.mark.parametrize("content", [b"", b"not a video", b"RIFF" + b"\0" * 500, bytes(range(256)) * 40])
def test_what_is_no_video(tmp_path, content):
    path = tmp_path / "x.avi"
    path.write_bytes(content)
    for call in (lambda: probe(path), lambda: promised_frames(path), lambda: read_frames(path, np.array([0]), 9)):
        with pytest.raises(BadInput, match=r"x\.avi"):
            call()
    with pytest.raises(BadInput, match="does not exist"):
        probe(tmp_path / "y.avi")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_cut_files_are_named(clips, tmp_path, share):
    whole = sorted(clips.iterdir())[0].read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadInput, match=r"cut\.avi"):
        read_frames(path, np.array([0, 19]), 20)
    with pytest.raises(BadInput, match=r"cut\.avi"):
        probe(path)


def test_ntu_folder(clips):
    source = NtuVideos(clips, ("drink", "eat"))
    assert source.classes == ("drink", "eat")
    assert source.labels.tolist() == [0, 1, 0, 1]
    assert source.names[0] == "S001C001P001R000A001"
    assert [name for name, _ in source.left_out] == ["S001C001P001R002A003_rgb.avi", "S002C001P001R005A003_rgb.avi"]
    assert "action 3 has no name" in source.left_out[0][1]
    assert source.length(1) == 21
    np.testing.assert_array_equal(source.read(1, np.array([4, 2])), all_frames(source.path(1))[[4, 2]])
    with pytest.raises(BadInput, match="holds no videos"):
        NtuVideos(clips, ())
    with pytest.raises(BadInput, match="is not a folder"):
        NtuVideos(clips / "no", ("a",))


def table(clips, text):
    path = clips.parent / "list.csv"
    path.write_text(text)
    return path


def test_official_lists(clips):
    files = sorted(path.name for path in clips.iterdir())
    wanted = ([files[0], files[4]], [1, 0])
    for text in (
        f"{files[0]},1\n{files[4]},0\n",
        f"video,skeleton,label\n{files[0]},a/b.npz,1\r\n\n{files[4]},c.npz,0\r\n",
        f"{files[0]} 1\n{files[4]} 0",
        f'"{files[0]}", 1\n{files[4]} , 0\n',
    ):
        assert read_list(table(clips, text)) == wanted
    source = CsvVideos(table(clips, f"{files[0]},1\n{files[4]},0\n"), clips, ("a", "b"))
    assert source.labels.tolist() == [1, 0]
    assert source.names == ("S001C001P001R000A001", "S002C001P001R004A002")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no videos"),
        ("video,label\n", "names no videos"),
        ("a.avi,0\nb.avi,x\n", "line 2: the label must be a whole number"),
        ("a.avi,-1\n", "line 1: the label must be"),
        ("a.avi,0\nvideo,label\n", "line 2: the label must be"),
        ("a.avi,b,c,0\n", "line 1: rows are"),
        ("a.avi\n", "line 1: rows are"),
        ("../a.avi,0\n", "no path of a video"),
        (",0\n", "no path of a video"),
        ("a.avi,0\n", r"1 of 1 videos are not below .* the first is a.avi"),
        ("S001C001P001R000A001_rgb.avi,2\n", r"has the label 2, there are 2 class names"),
        ("S001C001P001R000A001_rgb.avi,0\nS001C001P001R000A001_rgb.avi,1\n", "is there twice"),
    ],
)
def test_lists_that_cannot_be(clips, text, says):
    with pytest.raises(BadInput, match=says):
        CsvVideos(table(clips, text), clips, ("a", "b"))


def test_equal_names_in_several_folders_keep_their_paths(tmp_path):
    for label in ("sit", "wave"):
        write_video(tmp_path / label / "1_rgb.avi", 3)
    source = VideoFiles(tmp_path, ["sit/1_rgb.avi", "wave/1_rgb.avi"], [0, 1], ("sit", "wave"))
    assert source.names == ("sit/1", "wave/1")


def test_the_list_of_a_check_leaves_out_what_it_found(clips, tmp_path):
    files = sorted(path.name for path in clips.iterdir())
    found = {}
    for number, file in enumerate(files):
        size, mtime_ns = stamp(clips / file)
        why = "cut short" if number == 2 else ""
        found[file] = FileCheck(bytes=size, mtime_ns=mtime_ns, frames=15, steady=True, why=why)
    found["gone.avi"] = FileCheck(bytes=0, mtime_ns=0, why="missing")
    write_checked(tmp_path / "checked.json", CheckedFiles(files=found))
    assert read_checked(tmp_path / "checked.json").files == found
    source = VideoFiles(clips, [*files, "gone.avi"], [0] * 7, ("a",), read_checked(tmp_path / "checked.json"))
    assert source.left_out == [(files[2], "cut short"), ("gone.avi", "missing")]
    assert len(source.names) == len(source.labels) == 5
    assert source.length(0) == 15  # as counted, not as promised
    os.utime(clips / files[2])  # another file now: the finding no longer holds
    source = VideoFiles(clips, files, [0] * 6, ("a",), read_checked(tmp_path / "checked.json"))
    assert source.left_out == []
    assert source.length(2) == 22
    (tmp_path / "checked.json").write_text('{"files": {"a": {"bytes": -1}}}')
    with pytest.raises(BadInput, match=r"files\.a\.bytes"):
        read_checked(tmp_path / "checked.json")


def cached(clips, folder, limit=1 << 30, short=24):
    files = sorted(path.name for path in clips.iterdir())
    return CachedVideos(VideoFiles(clips, files, [0] * len(files), ("a",)), folder, short, limit)


def test_the_cache_gives_the_same_frames_and_decodes_once(clips, tmp_path, monkeypatch):
    source, indices = cached(clips, tmp_path / "cache"), np.array([5, 0, 5])
    want = resize_short(source.source.read(3, indices), 24)
    np.testing.assert_array_equal(source.read(3, indices), want)
    monkeypatch.setattr(cv2, "VideoCapture", None)  # from here on nothing can be decoded
    again = cached(clips, tmp_path / "cache")
    again.source._facts = source.source._facts
    np.testing.assert_array_equal(again.read(3, indices), want)
    with pytest.raises(TypeError):
        again.read(2, indices)


def test_the_cache_forgets_changed_and_torn_files(clips, tmp_path):
    root = tmp_path / "rgb"
    write_video(root / "x.avi", 9)
    folder = tmp_path / "cache"
    first = cached(root, folder).read(0, np.array([1]))
    (kept,) = folder.rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-1000])  # torn
    np.testing.assert_array_equal(cached(root, folder).read(0, np.array([1])), first)
    write_video(root / "x.avi", 12, seed=5)
    changed = cached(root, folder).read(0, np.array([1]))
    assert not np.array_equal(changed, first)
    assert len(list(folder.rglob("*.npy"))) == 2


def test_the_cache_keeps_its_limit(clips, tmp_path):
    one = 20 * 24 * 32 * 3
    source = cached(clips, tmp_path / "cache", limit=int(2.5 * one))
    for _ in range(2):
        for clip in range(6):
            got = source.read(clip, np.array([1, 19]))
            np.testing.assert_array_equal(got, resize_short(source.source.read(clip, np.array([1, 19])), 24))
    files = list((tmp_path / "cache").rglob("*.npy"))
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) < 2.5 * one
    later = cached(clips, tmp_path / "cache", limit=int(2.5 * one))
    later.read(5, np.array([0]))
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2


def test_a_cache_that_cannot_be_written(clips, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be made"):
        cached(clips, tmp_path / "file" / "cache")


def test_a_full_disk_is_said_once_and_training_goes_on(clips, tmp_path, monkeypatch):
    source = cached(clips, tmp_path / "cache")

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.warns(UserWarning, match="takes no more"):
        assert source.read(0, np.array([0])).shape == (1, 24, 32, 3)
    assert source.read(1, np.array([0])).shape == (1, 24, 32, 3)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def skeletons(folder, names):
    folder.mkdir()
    clips = tuple(ClipEntry(name=name, label=0, frames=2) for name in names)
    index = Index(dataset="folder", layout=get_layout("coco17"), fps=30, persons=1, classes=("a",), clips=clips)
    write_data(folder, index, [np.ones((2, 1, 17, 3), np.float32)] * len(clips), {})
    return open_data(folder)


def test_pairs_by_name(clips, tmp_path):
    source = NtuVideos(clips, ("a", "b", "c"))
    data = skeletons(
        tmp_path / "s", ["S002C001P001R003A001", "S001C001P001R001A002", "x/S001C001P001R000A001", "only_rgb_not"]
    )
    videos, places = pair(source, data)
    videos_only, skeletons_only = unpaired(source, data)
    assert [source.names[i] for i in videos] == [data.index.clips[i].name.split("/")[-1] for i in places]
    assert places.tolist() == [2, 1, 0]
    assert videos_only == ("S001C001P001R002A003", "S002C001P001R004A002", "S002C001P001R005A003")
    assert skeletons_only == ("only_rgb_not",)


def test_pairs_by_path_where_names_repeat(tmp_path):
    for label in ("Cook.Cut", "Cook.Stir"):
        write_video(tmp_path / "v" / label / "1_color.avi", 3)
    source = VideoFiles(tmp_path / "v", ["Cook.Cut/1_color.avi", "Cook.Stir/1_color.avi"], [0, 0], ("a",))
    data = skeletons(tmp_path / "s", ["Cook.Stir/1", "Cook.Cut/2"])
    assert [found.tolist() for found in pair(source, data)] == [[1], [0]]
    assert unpaired(source, data) == (("Cook.Cut/1",), ("Cook.Cut/2",))
    none = pair(source, skeletons(tmp_path / "t", ["elsewhere"]))
    assert [(found.shape, found.dtype) for found in none] == [((0,), np.int64)] * 2


def test_what_a_path_means(clips, tmp_path):
    assert type(open_videos(clips, ("a", "b", "c"))) is NtuVideos
    listed = open_videos(table(clips, "S001C001P001R000A001_rgb.avi,0\n"), ("a",), root=clips)
    assert listed.labels.tolist() == [0]
    write_video(tmp_path / "x" / "a1_s1_t1_color.AVI", 3)
    (tmp_path / "x" / "notes.txt").write_text("")
    free = open_videos(tmp_path, ("a",))
    assert (free.names, free.labels.tolist()) == (("a1_s1_t1",), [-1])
    write_video(tmp_path / "b.avi", 3)
    (tmp_path / "list.csv").write_text("b.avi,0")
    assert open_videos(tmp_path / "list.csv", ("a",)).names == ("b",)
    for path, root, says in (
        (tmp_path / "no", None, "does not exist"),
        (tmp_path, clips, "a root is for lists"),
        (skeletons(tmp_path / "s", ["a"]).folder, None, "holds no videos"),
    ):
        with pytest.raises(BadInput, match=says):
            open_videos(path, ("a",), root)
