"""How good is the shipped live model: clips, windows of streams, and what it claims to see in footage of other things.

    python benchmarks/accuracy/utd27.py --data data/utd --videos FOLDER

Clips and streams are of the test subjects (even numbers). The videos hold none of the 27 actions, so whatever the
monitor reports there counts as a false activation.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from ski_edge.data.clips import load_clips
from ski_edge.data.splits import split
from ski_edge.data.store import open_data
from ski_edge.evaluate import measure
from ski_edge.evaluate.windows import over_windows
from ski_edge.monitor import ActivityRules, Monitor, MonitorOptions, open_source
from ski_edge.monitor.pose import open_estimator
from ski_edge.monitor.store import read_events
from ski_edge.runtime import PoseSession, open_bundle
from ski_edge.runtime.measure import machine
from ski_edge.skeleton import arrange
from ski_edge.testing.results import write_result
from ski_edge.train.live import WindowMaker
from ski_edge.train.recipe import read_recipe

PER_CLASS, OTHERS = 30, 600  # windows of streams


def on_clips(session: PoseSession, clips: list[np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """Whole clips; the class *other* may win, or is left out."""
    logits = over_windows(session.classify, clips, session.manifest.skeleton)
    actions = measure(logits[:, :-1], labels)
    return {"top1": measure(logits, labels).top1, "top1_without_other": actions.top1, "clips": len(clips)}


def on_windows(
    session: PoseSession, clips: list[np.ndarray], labels: np.ndarray, owners: np.ndarray
) -> dict[str, float]:
    """Windows cut from artificial streams of the test subjects."""
    recipe = read_recipe("utd27", ["change_speed=0"])
    maker = WindowMaker([arrange(clip, recipe.skeleton) for clip in clips], labels, owners, recipe)
    rng = np.random.default_rng(0)
    other = len(session.classes) - 1
    wanted = np.concatenate([np.repeat(np.unique(labels), PER_CLASS), np.full(OTHERS, other)])
    windows = [maker.draw(None if label == other else int(label), rng) for label in wanted]
    # The maker's windows are made of centred clips; the device centres and scales what it sees, so they are again.
    inputs = np.stack([arrange(window, session.manifest.skeleton).transpose(3, 0, 2, 1) for window in windows])
    logits = np.concatenate([session.run(skeleton=inputs[i : i + 64])["logits"] for i in range(0, len(inputs), 64)])
    metrics = measure(logits, wanted)
    scores = session.score(logits)
    said, sure = logits.argmax(axis=1), scores.max(axis=1) >= 0.5
    idle = wanted == other
    return {
        "top1": metrics.top1,
        "action_recall": 100 * float((said == wanted)[~idle].mean()),
        "other_recall": 100 * float((said == other)[idle].mean()),
        "other_taken_for_an_action_above_half": 100 * float(((said != other) & sure)[idle].mean()),
        "windows": len(wanted),
    }


def on_videos(session: PoseSession, videos: list[Path], conf: float) -> dict[str, object]:
    """Activations of the monitor, with its usual rules, in footage of other things."""
    rows, seconds, activations = [], 0.0, 0
    for video in videos:
        with tempfile.TemporaryDirectory() as folder:
            options = MonitorOptions(out=Path(folder) / "run", rules=ActivityRules(conf, 0.7 * conf, 1.0))
            estimator = open_estimator("mediapipe", 4)
            summary = Monitor(session, open_source(str(video)), options, estimator).run()
            estimator.close()
            events = [event for event in read_events(options.out) if event["label"] != "unknown"]
        seconds += summary.seconds
        activations += len(events)
        rows.append({"video": video.name, "seconds": summary.seconds, "events": [event["label"] for event in events]})
    return {
        "seconds": seconds,
        "activations": activations,
        "per_hour": activations * 3600 / seconds if seconds else None,
        "conf": conf,
        "videos": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="utd27")
    parser.add_argument("--data", type=Path, default=Path("data/utd"))
    parser.add_argument("--videos", type=Path, nargs="*", default=[])
    parser.add_argument("--conf", type=float, default=0.5)
    given = parser.parse_args()
    session = open_bundle(given.model)
    data = open_data(given.data)
    test = split(data, "odd-even")[1]
    clips, labels = load_clips(data, test, session.manifest.skeleton), data.labels[test]
    record: dict[str, object] = {
        "weights": session.manifest.provenance.weights,
        "weights_sha256": session.manifest.provenance.weights_sha256,
        "precision": session.manifest.precision.asked,
        "clips": on_clips(session, clips, labels),
        "windows": on_windows(session, clips, labels, data.column("subject")[test]),
    }
    if given.videos:
        record["videos"] = on_videos(session, given.videos, given.conf)
    for name, value in record.items():
        print(f"{name}: {value}")
    print(write_result("utd27", machine(session), record))


if __name__ == "__main__":
    main()
