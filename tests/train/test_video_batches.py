"""Batches that are the same however they are read."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import torch

from ski_edge.contracts import Preprocessing
from ski_edge.data.video import VideoFiles
from ski_edge.errors import BadInput
from ski_edge.testing.clips import moving_shapes
from ski_edge.train.video_batches import VideoBatches, views
from ski_edge.train.video_recipe import VideoRecipe

RECIPE = VideoRecipe(frames=4, preprocessing=Preprocessing(resize_short=36, crop=32), workers=0)


class Memory:
    """Clips in memory that count how often they are read."""

    def __init__(self, count, broken=-1):
        self.clips = [moving_shapes(9 + number, 40, 52, seed=number) for number in range(count)]
        self.names, self.classes = tuple(map(str, range(count))), ("a", "b")
        self.labels = np.arange(count) % 2
        self.reads, self.threads, self.broken = [], set(), broken

    def length(self, clip):
        return len(self.clips[clip])

    def read(self, clip, indices):
        if clip == self.broken:
            raise BadInput(f"clip {clip} is broken")
        self.reads.append(clip)
        self.threads.add(threading.current_thread().name)
        return self.clips[clip][indices]


@pytest.fixture(scope="module")
def source():
    return Memory(23)


def batches(source, recipe=RECIPE, size=5, seed=3, which=None, **epoch):
    made = VideoBatches(source, np.arange(len(source.names)) if which is None else which, recipe, "cpu", size, seed)
    return list(made.epoch(**{"epoch": 0, **epoch}))


def same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.chosen, other.chosen)
        assert torch.equal(one.frames, other.frames)


def test_an_epoch_sees_each_clip_once(source):
    every = batches(source)
    assert len(every) == 4  # 23 clips: three are left over
    chosen = np.concatenate([batch.chosen for batch in every])
    assert chosen.dtype == np.int64
    assert len(set(chosen.tolist())) == 20
    assert every[0].frames.shape == (5, 4, 32, 32, 3)
    assert every[0].frames.dtype == torch.uint8
    other = np.concatenate([batch.chosen for batch in batches(source, epoch=1)])
    assert not np.array_equal(chosen, other)
    assert not np.array_equal(chosen, np.concatenate([batch.chosen for batch in batches(source, seed=4)]))


def test_clips_are_augmented_anew_in_each_epoch(source):
    first, second = (batches(source, which=np.array([7]), size=1, epoch=epoch)[0].frames for epoch in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_threads_do_not_change_a_batch(source, workers):
    reference = batches(source)
    source.threads.clear()
    same(reference, batches(source, RECIPE.model_copy(update={"workers": workers})))
    assert all(name.startswith("clips") for name in source.threads)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clips")]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_where_it_was_left(workers):
    source = Memory(23)
    recipe = RECIPE.model_copy(update={"workers": workers})
    whole = batches(source, recipe)
    source.reads.clear()
    rest = batches(source, recipe, start=2)
    same(whole[2:], rest)
    assert sorted(source.reads) == sorted(np.concatenate([batch.chosen for batch in rest]).tolist())
    assert batches(source, recipe, start=4) == []


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_share_the_batch_of_one(source, world):
    whole = batches(source)
    parts = [batches(source, rank=rank, world=world) for rank in range(world)]
    for number, batch in enumerate(whole):
        for rank in range(world):
            np.testing.assert_array_equal(parts[rank][number].chosen, batch.chosen[rank::world])
            assert torch.equal(parts[rank][number].frames, batch.frames[rank::world])


def test_which_chooses_clips(source):
    which = np.array([20, 3, 11, 5])
    every = batches(source, which=which, size=2)
    assert sorted(np.concatenate([batch.chosen for batch in every]).tolist()) == sorted(which.tolist())
    (only,) = batches(source, which=which, size=64)  # fewer clips than a batch
    assert len(only.chosen) == 4


def test_every_kind_of_crop_and_sampling(source):
    for fields in ({"crop": "jitter", "jitter_short": (32, 40)}, {"crop": "centre"}, {"sampling": "stride", "rate": 2}):
        recipe = RECIPE.model_copy(update=fields)
        (batch, *_) = batches(source, recipe)
        assert batch.frames.shape == (5, 4, 32, 32, 3)
        assert batch.frames.float().std() > 5


def test_plain_training_clips_are_the_test_pipeline(source):
    plain = RECIPE.model_copy(update={"crop": "centre", "flip": 0.0})
    mirrored = plain.model_copy(update={"flip": 1.0})
    (one, *_), (other, *_) = batches(source, plain), batches(source, mirrored)
    assert torch.equal(one.frames.flip(3), other.frames)
    # A clip of one frame per part has nothing to draw: training shows what the test shows.
    short = Memory(1)
    short.clips[0] = short.clips[0][:4]
    (train,) = batches(short, plain, size=1)
    (test,) = views(short, np.array([0]), plain)
    assert torch.equal(train.frames, test.frames[:, 0])


def test_views_keep_order_and_the_last_clips(source):
    recipe = RECIPE.model_copy(update={"workers": 2})
    got = list(views(source, np.arange(7), recipe, (4, 3), batch_size=3))
    assert [batch.chosen.tolist() for batch in got] == [[0, 1, 2], [3, 4, 5], [6]]
    assert got[0].frames.shape == (3, 12, 4, 32, 32, 3)
    same(got, list(views(source, np.arange(7), RECIPE, (4, 3), batch_size=3)))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_clip_is_named_and_no_thread_stays(workers):
    recipe = RECIPE.model_copy(update={"workers": workers})
    with pytest.raises(BadInput, match="clip 4 is broken"):
        batches(Memory(8, broken=4), recipe, size=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clips")]


def test_leaving_an_epoch_ends_its_threads(source):
    epoch = VideoBatches(source, np.arange(23), RECIPE.model_copy(update={"workers": 3}), "cpu", 2, 0).epoch(0)
    next(epoch)
    epoch.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clips")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three video files of 80 x 96."""
    root = tmp_path_factory.mktemp("rgb")
    for number in range(3):
        writer = cv2.VideoWriter(str(root / f"{number}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (96, 80))
        for frame in moving_shapes(12 + number, 80, 96, seed=number):
            writer.write(frame[..., ::-1])
        writer.release()
    return VideoFiles(root, [f"{number}.avi" for number in range(3)], [0, 1, 0], ("a", "b"))


def as_recorded(files):
    """The same clips from memory, so that everything happens after decoding."""
    memory = Memory(3)
    memory.clips = [files.read(clip, np.arange(files.length(clip))) for clip in range(3)]
    return memory


@pytest.mark.parametrize("crop", ["multi-scale", "jitter", "centre"])
def test_files_are_resized_while_they_are_read(files, crop):
    recipe = RECIPE.model_copy(update={"crop": crop, "jitter_short": (32, 40), "workers": 2})
    same(batches(files, recipe, size=3), batches(as_recorded(files), recipe, size=3))
    for shape in ((1, 1), (2, 3)):
        got = list(views(files, np.arange(3), recipe, shape))
        same(got, list(views(as_recorded(files), np.arange(3), recipe, shape)))


def test_the_second_epoch_decodes_nothing(files, tmp_path, monkeypatch):
    recipe = RECIPE.model_copy(update={"cache": tmp_path / "cache", "workers": 2})
    want = [batches(files, size=3, epoch=epoch) for epoch in (0, 1)]
    same(batches(files, recipe, size=3), want[0])
    same(list(views(files, np.arange(3), recipe)), list(views(files, np.arange(3), RECIPE)))
    monkeypatch.setattr(cv2, "VideoCapture", None)
    same(batches(files, recipe, size=3, epoch=1), want[1])
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 3
    with pytest.raises(TypeError):
        batches(files, size=3)


def test_what_cannot_be(source):
    with pytest.raises(BadInput, match="not one clip"):
        VideoBatches(source, np.array([], int), RECIPE, "cpu", 2, 0)
    with pytest.raises(BadInput, match="clip 23 was asked for"):
        VideoBatches(source, np.array([23]), RECIPE, "cpu", 2, 0)
    with pytest.raises(BadInput, match="batch_size must be"):
        VideoBatches(source, np.arange(4), RECIPE, "cpu", 0, 0)
    with pytest.raises(BadInput, match="cannot be shared"):
        batches(source, size=2, world=3)
    with pytest.raises(BadInput, match="batch_size must be"):
        next(views(source, np.arange(4), RECIPE, batch_size=0))
