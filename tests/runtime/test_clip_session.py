"""Bundles that see whole clips: X-CLIP (labels depend on the video) and FROSTER."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge.bundle import Label
from ski_edge.bundle.labels import embed_labels
from ski_edge.bundle.manifest import _digest
from ski_edge.errors import BadInput, ParityFailed
from ski_edge.runtime import FrameStream
from ski_edge.runtime.measure import measure
from ski_edge.runtime.preprocess import preprocess_clip, sample_indices, sample_times
from ski_edge.runtime.verify import compare, read_reference, verify
from ski_edge.runtime.video_sessions import reference_clips
from ski_edge.testing.clips import moving_shapes

NAMES = ("xclip", "froster")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def session(clip_bundles, name):
    return ski_edge.open_bundle(clip_bundles[name])


def live_cosines(model, session, clip):
    """[K] of the torch model's own forward, labels read by its own text tower."""
    frames = torch.from_numpy(preprocess_clip(clip, session.manifest.preprocessing))[None]
    prompts = [session.manifest.text.template.replace("{}", label) for label in session.labels.current.names]
    with torch.no_grad():
        return (model(frames, prompts)[0] / model.clip.logit_scale.exp()).numpy()


def test_prediction_is_the_models_own(session, clip_models, name):
    session.labels.replace(["falling", "cooking", "reading a book"])
    clip = moving_shapes(8, seed=4)
    want = live_cosines(clip_models[name], session, clip)
    result = session.predict(clip)
    got = dict(zip(result.labels, result.logits, strict=True))
    np.testing.assert_allclose([got[label] for label in session.labels.current.names], want, atol=1e-5)
    assert (np.abs(result.logits) <= 1 + 1e-6).all()
    shifted = np.exp(session.manifest.score_scale * (result.logits - result.logits.max()))
    np.testing.assert_allclose(result.scores, shifted / shifted.sum(), rtol=1e-4)


@pytest.mark.parametrize("length", [1, 3, 20])
def test_clips_of_any_length_are_sampled(session, length):
    clip = moving_shapes(length, seed=5)
    sampled = session.predict(clip[sample_indices(length, 8)])
    result = session.predict(clip)
    assert result.labels == sampled.labels
    np.testing.assert_array_equal(result.logits, sampled.logits)
    assert len(result.labels) == 60


def test_no_frames_are_no_clip(session):
    with pytest.raises(BadInput, match="at least one frame"):
        session.predict(np.zeros((0, 40, 40, 3), np.uint8))


def test_stream_equals_the_whole_clip(session):
    """Every update, from the first frame on, is bit for bit the prediction of the window's frames."""
    clip = moving_shapes(14, seed=3)
    stream = FrameStream(session, session.manifest.video.period_s)
    period = stream.sample_s
    for i, frame in enumerate(clip):
        update = stream.push(frame, i * period)
        window = clip[max(0, i - 7) : i + 1]
        assert update.frames == len(window)
        want = session.predict(window)
        order = np.argsort(-update.logits)
        assert [update.labels.names[k] for k in order] == want.labels
        np.testing.assert_array_equal(update.logits[order], want.logits)
        np.testing.assert_array_equal(update.scores[order], want.scores)


def test_embeddings_are_there_where_scores_come_from_them(clip_bundles):
    clip = moving_shapes(8)
    froster, xclip = (ski_edge.open_bundle(clip_bundles[name]) for name in ("froster", "xclip"))
    update = FrameStream(froster).push(clip[0], 0.0)
    np.testing.assert_array_equal(update.embedding, froster.encode_video(clip[:1]))
    logits, scores = froster.score(update.embedding, update.labels)
    np.testing.assert_array_equal(logits, update.logits)
    assert scores.sum() == pytest.approx(1)
    assert FrameStream(xclip).push(clip[0], 0.0).embedding is None


def test_default_rhythm_fills_the_window_and_updates_four_times_in_it(session):
    stream, video = FrameStream(session), session.manifest.video
    assert (stream.sample_s, stream.every_s) == (pytest.approx(video.window_s / 8), pytest.approx(video.window_s / 4))
    frames = moving_shapes(1)
    updates = [stream.push(frames[0], i / 30) for i in range(round(30 * 2 * video.window_s))]
    times = [update.timestamp for update in updates if update]
    assert len(times) == 8
    np.testing.assert_allclose(np.diff(times), stream.every_s, atol=1 / 30 + 1e-9)
    last = [update for update in updates if update][-1]
    assert last.frames == 8
    assert last.span_s == pytest.approx(video.window_s, abs=1 / 30)
    assert last.largest_gap_s < 1.2 * stream.sample_s


def test_seldom_updates_still_see_a_full_clip(session, monkeypatch):
    """Frames are kept as close as in training, however seldom the network runs."""
    runs = []
    real = session.run
    monkeypatch.setattr(session, "run", lambda *args: (runs.append(1), real(*args))[1])
    window_s = session.manifest.video.window_s
    stream = FrameStream(session, every_s=window_s)
    frames = moving_shapes(1)
    updates = [stream.push(frames[0], i / 30) for i in range(round(30 * 2.5 * window_s))]
    made = [update for update in updates if update]
    assert len(made) == len(runs) == 3
    assert [update.frames for update in made] == [1, 8, 8]


def test_updates_go_on_after_a_hole(session):
    stream = FrameStream(session, every_s=1.0)
    frame = moving_shapes(1)[0]
    early = [stream.push(frame, t) for t in (0.0, 0.5, 1.0)]
    assert [update is not None for update in early] == [True, False, True]
    late = stream.push(frame, 100.0)
    assert (late.frames, late.largest_gap_s) == (1, 0)
    assert stream.push(frame, 100.5) is None
    assert stream.push(frame, 101.0).frames == 3


def test_impossible_periods(session):
    window_s = session.manifest.video.window_s
    for every in (0, -1, window_s / 300, window_s + 0.1, float("nan")):
        with pytest.raises(BadInput, match=f"to the window's {window_s:g} s"):
            FrameStream(session, every)


def test_labels_change_without_a_new_export(session, clip_models, name):
    clip = moving_shapes(8, seed=6)
    session.labels.replace(["cooking"])
    session.labels.add("falling", ["a person falls", "somebody on the floor"])
    update = FrameStream(session).push(clip[0], 0.0)
    assert update.labels.names == ["cooking", "falling"]
    model = clip_models[name]
    frames = torch.from_numpy(preprocess_clip(clip[:1], session.manifest.preprocessing)).expand(8, -1, -1, -1)[None]
    with torch.no_grad():
        want = model.compare(frames, torch.from_numpy(np.array(update.labels.embeddings)))[1][0].numpy()
    np.testing.assert_allclose(update.logits, want, atol=1e-5)


def test_prompts_of_raw_labels_vote_alike_and_keep_their_length():
    rows = {"short": np.array([[3.0, 0.0]], np.float32), "long": np.array([[0.0, 5.0]], np.float32)}

    def encode(prompts):
        return np.concatenate([rows[prompt] for prompt in prompts])

    both, one = embed_labels([Label("n", ("short", "long")), Label("long")], "{}", encode)
    np.testing.assert_allclose(both, 4 * np.array([0.5**0.5, 0.5**0.5]), rtol=1e-6)
    np.testing.assert_allclose(one, [0, 5], rtol=1e-6)


def test_single_frames_have_no_embedding(session):
    with pytest.raises(BadInput, match=r"mixes the frames of a clip.*encode_video or predict"):
        session.encode_frames(moving_shapes(2))


def test_xclip_has_no_video_embedding(clip_bundles):
    xclip = ski_edge.open_bundle(clip_bundles["xclip"])
    for call in (lambda: xclip.encode_video(moving_shapes(8)), lambda: xclip.score(np.zeros(64), xclip.labels.current)):
        with pytest.raises(BadInput, match=r"reads every label in the light of the video.*use predict"):
            call()


@pytest.mark.parametrize("shape", [(1, 4, 3, 224, 224), (8, 3, 224, 224), (1, 8, 3, 112, 112)])
def test_clips_of_another_shape(session, shape):
    text = () if session.part == "clips" else (session.labels.current.embeddings,)
    with pytest.raises(BadInput, match=r"takes clips of 8 frames together, float32 \[N, 8, 3, 224, 224\]; got"):
        session.run(np.zeros(shape, np.float32), *text)


def test_run_takes_the_graphs_tensors(session):
    clip = np.zeros((2, 8, 3, 224, 224), np.float32)
    if session.part == "clips":
        assert session.run(frames=clip)["embedding"].shape == (2, 64)
        return
    assert session.run(frames=clip, text=np.ones((3, 64), np.float32))["logits"].shape == (2, 3)
    with pytest.raises(BadInput, match="the graph refused"):
        session.run(frames=clip, text=np.ones((3, 32), np.float32))


def test_verify_passes_and_finds_small_errors(session):
    frames, inputs, expected = read_reference(session)
    assert verify(session).passed
    assert set(verify(session).parts) == {session.part, "labels"}
    rows = expected.outputs.copy()
    assert len(rows) == 2
    rows[1, 3] += 3e-4 * np.abs(rows).max()
    with pytest.raises(ParityFailed, match=f"{session.part} off by"):
        compare(session, frames, inputs, replace(expected, outputs=rows)).check()


def test_verify_finds_a_wrong_order_of_frames(session):
    """What a frame encoder could not tell: the same frames with other neighbours."""
    frames, inputs, expected = read_reference(session)
    moved = [frames[i] for i in (0, 3, 6, 1, 4, 7, 2, 5)]
    assert not compare(session, moved, inputs, expected).passed


def test_reference_clips_repeat_and_reorder():
    frames = np.arange(8)
    assert reference_clips(frames, 8).tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 2, 4, 6, 1, 3, 5, 7]]
    assert reference_clips(frames, 4).tolist() == [[1, 3, 5, 7], [1, 5, 3, 7]]
    assert reference_clips(frames, 16)[0].tolist() == [i // 2 for i in range(16)]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 9, 16, 23, 64])
def test_even_times_are_sampled_as_even_numbers(count):
    for length in (1, 5, 8, 16):
        times = 12.3 + np.arange(count) / 7
        np.testing.assert_array_equal(sample_times(times, length), sample_indices(count, length))


def test_sampling_follows_time():
    times = np.array([0, 1, 2, 3, 3.5, 3.6, 3.7, 3.8])
    assert sample_times(times, 4).tolist() == [0, 1, 2, 7]
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, 8)
    chosen = sample_times(np.arange(8) + jitter, 8)
    assert np.abs(chosen - np.arange(8)).max() <= 1
    assert len(set(chosen.tolist())) >= 7


def test_a_bundle_that_contradicts_itself_is_refused(clip_bundles, tmp_path, name):
    def damaged(number, change):
        folder = tmp_path / str(number)
        shutil.copytree(clip_bundles[name], folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["sha256"]
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps({**manifest, "sha256": _digest(manifest)}))
        return folder

    other = "norm-then-mean" if name == "xclip" else "joint"
    for number, (change, says) in enumerate(
        [
            (lambda m: m["video"].update(window_frames=4), "has tensors"),
            (lambda m: m["video"].update(pooling=other), "has tensors"),
            (lambda m: m["video"].update(pooling="mean-then-norm"), "mode clip goes with pooling"),
            (lambda m: m["video"].update(mode="frame", pooling="mean-then-norm"), "mode frame needs a frame_encoder"),
            (lambda m: m.update(clip_encoder=None), "needs one of frame_encoder and clip_encoder, has 0"),
            (lambda m: m.update(frame_encoder=m["clip_encoder"]), "needs one of frame_encoder and clip_encoder, has 2"),
        ]
    ):
        with pytest.raises(BadInput, match=says) as error:
            ski_edge.open_bundle(damaged(number, change))
        assert "\n" not in str(error.value)


def test_no_torch_on_the_device(without_torch, clip_bundles, name):
    code = """
import ski_edge
from ski_edge.testing.clips import moving_shapes
session = ski_edge.open_bundle(sys.argv[1])
session.labels.replace(["falling", "cooking"])
print(session.predict(moving_shapes(4)).label)
"""
    done = without_torch(code, clip_bundles[name])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("falling", "cooking")


def test_benchmark_record(clip_bundles, name):
    record = measure(clip_bundles[name], duration_s=0.2, warmup=1)
    json.dumps(record)
    stages = record["stages"]
    assert set(stages) == {"preprocess", "clip", "update"}
    assert record["updates_per_second"] == pytest.approx(1000 / stages["update"]["p50_ms"])
    assert record["every_s"] == pytest.approx(FrameStream(ski_edge.open_bundle(clip_bundles[name])).every_s)
    work_ms = stages["update"]["p50_ms"] + stages["preprocess"]["p50_ms"]  # one more frame is kept between two updates
    assert record["busy"] == pytest.approx(work_ms / 1000 / record["every_s"])
    assert "one clip of 8 frames" in record["flops_convention"]
    assert record["parity"]["passed"]


def test_benchmark_command(cli, clip_bundles, name, tmp_path):
    code, out, _ = cli("benchmark", "-m", clip_bundles[name], "--duration", "100ms", "--out", tmp_path / "o")
    assert code == 0
    assert "score one clip (graph, labels)" in out
    assert "this machine is busy" in out
    assert (tmp_path / "o" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
