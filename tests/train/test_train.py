"""Training: learns, stops and goes on to the same numbers, says what is wrong with a recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml

from ski_edge.errors import BadInput
from ski_edge.models import load_model
from ski_edge.skeleton import LAYOUTS
from ski_edge.testing.skeletons import moving_skeleton
from ski_edge.train import read_recipe
from ski_edge.train.augment import apply_rotation, augment, rotation, stretch_bones
from ski_edge.train.loop import train

KINECT = LAYOUTS["kinect20"]


FIELDS = {
    "model": "ctrgcn",
    "arch": "tiny",
    "split": "odd-even",
    "skeleton": {"layout": "kinect20", "persons": 1, "resample": {"name": "crop-resize", "frames": 16}},
    "rotate": [0.1, 0.1, 0.1],
    "epochs": 4,
    "batch_size": 8,
    "lr": 0.1,
    "warmup_epochs": 1,
    "drops": [3],
}


@pytest.fixture
def recipe(tmp_path, waving):
    def make(**changes):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({**FIELDS, "data": str(waving), **changes}))
        return read_recipe(str(path))

    return make


def test_learns_and_leaves_a_checkpoint(recipe, tmp_path):
    rows = []
    made = recipe(epochs=3, drops=[2], repeat=10)
    result = train(made, tmp_path / "run", threads=1, report=lambda row, _: rows.append(row))
    assert result["finished"]
    assert result["clips"] == {"train": 30, "choose": 15, "test": 45}  # one of three training subjects chooses
    assert result["test_top1"] > 70  # chance is 33
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[0]["lr"] == pytest.approx(0.1)
    assert rows[-1]["lr"] == pytest.approx(0.01)
    model = load_model(tmp_path / "run" / "checkpoint")
    assert model.config.classes == ("left", "right", "foot")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result


def test_a_stopped_run_goes_on_to_the_same_numbers(recipe, tmp_path):
    whole = train(recipe(), tmp_path / "whole", threads=1)
    part = train(recipe(), tmp_path / "parts", threads=1, stop_after_s=0.0)
    assert (part["finished"], part["epochs"]) == (False, 1)
    for _ in range(3):
        last = train(recipe(), tmp_path / "parts", resume=True, threads=1, stop_after_s=0.0)
    assert last["finished"]
    for key in ("test_top1", "chosen_epoch", "choose_top1", "last_epoch_test_top1"):
        assert last[key] == whole[key]
    first, second = (torch.load(tmp_path / run / "state.pt", weights_only=True)["model"] for run in ("whole", "parts"))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    logs = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("whole", "parts")]
    assert [line.rsplit(",", 1)[0] for line in logs[0]] == [line.rsplit(",", 1)[0] for line in logs[1]]


def test_live_windows_have_a_class_for_everything_else(recipe, tmp_path):
    skeleton = {
        "layout": "kinect20",
        "persons": 1,
        "centre": "each-frame",
        "scale": "bone",
        "resample": {"name": "fixed-seconds", "frames": 8, "seconds": 0.8},
    }
    live = {"windows": 48, "other_share": 0.25}
    augmentation = {"noise": 0.02, "drop_joints": 0.05, "stretch_bones": 0.1, "change_speed": 0.2}
    made = recipe(skeleton=skeleton, live=live, select="last", epochs=2, drops=[], **augmentation)
    result = train(made, tmp_path / "run", threads=1)
    assert result["chosen_epoch"] == 2
    assert load_model(tmp_path / "run" / "checkpoint").config.classes == ("left", "right", "foot", "other")


def test_selecting_on_the_test_part_says_so(recipe, cli, tmp_path, waving):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**FIELDS, "data": str(waving), "epochs": 1, "drops": [], "select": "test"}))
    code, out, err = cli("train", path, "--out", tmp_path / "run", "--threads", 1)
    assert code == 0, err
    assert "ON THE TEST PART, which flatters" in out
    assert "epoch 1/1: loss" in err


def test_run_folders_are_not_mixed(recipe, tmp_path):
    train(recipe(epochs=1, drops=[]), tmp_path / "run", threads=1)
    with pytest.raises(BadInput, match="already holds a run; add --resume"):
        train(recipe(epochs=1, drops=[]), tmp_path / "run", threads=1)
    with pytest.raises(BadInput, match="differs from this recipe in seed \(1 -> 2\); resume with the same recipe"):
        train(recipe(epochs=1, drops=[], seed=2), tmp_path / "run", resume=True, threads=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="holds other files"):
        train(recipe(epochs=1, drops=[]), tmp_path / "other", threads=1)


def test_a_damaged_state_is_named(recipe, tmp_path):
    train(recipe(), tmp_path / "run", threads=1, stop_after_s=0.0)
    (tmp_path / "run" / "state.pt").write_bytes(b"half")
    with pytest.raises(BadInput, match=r"state\.pt cannot be read"):
        train(recipe(), tmp_path / "run", resume=True, threads=1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 0}, "epochs: Input should be greater than 0"),
        ({"drops": [9]}, "drops must be ascending epochs below 4"),
        ({"learning_rate": 1}, "learning_rate: Extra inputs are not permitted"),
        ({"skeleton": {"layout": "ntu99"}}, "layout 'ntu99' is not built in"),
        ({"live": {}}, "live windows need skeleton.resample.name: fixed-seconds"),
        ({"select": "best"}, "select: Input should be 'validation', 'test' or 'last'"),
    ],
)
def test_wrong_recipe_is_one_clear_line(recipe, changes, says):
    with pytest.raises(BadInput) as failed:
        recipe(**changes)
    assert says in str(failed.value)
    assert "\n" not in str(failed.value)


def test_overrides():
    made = read_recipe("utd-ctrgcn", ["seed=3", "skeleton.modality=bone", "lr=0.02", "drops=[5]"])
    assert (made.seed, made.skeleton.modality, made.lr, made.drops) == (3, "bone", 0.02, (5,))
    for item, says in (
        ("seed", "must be KEY=VALUE"),
        ("lr.x=1", "does not name a field"),
        ("seed=[", "is not YAML"),
        ("seed=2020-13-45", "is not YAML"),
    ):
        with pytest.raises(BadInput, match=says):
            read_recipe("utd-ctrgcn", [item])
    with pytest.raises(BadInput, match=r"the choices are: .*ucla-ctrgcn, utd-ctrgcn"):
        read_recipe("utd")


def test_rotation_is_the_feeders():
    rows = rotation(torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64))[0]
    wanted = [[0.936293, 0.275096, 0.218351], [-0.289630, 0.956425, 0.036957], [-0.198669, -0.097843, 0.975170]]
    np.testing.assert_allclose(rows, wanted, atol=1e-6)
    other = rotation(torch.tensor([[0.1, 0.2, -0.3]], dtype=torch.float64))[0, 0]
    np.testing.assert_allclose(other, [0.936293, -0.275096, -0.218351], atol=1e-6)
    clip = torch.randn(1, 2, 1, 20, 3, dtype=torch.float64)
    np.testing.assert_allclose(apply_rotation(clip, rows[None])[0, 1, 0, 3], rows @ clip[0, 1, 0, 3], atol=1e-12)


def test_stretched_bones_keep_the_tree():
    clip = torch.from_numpy(moving_skeleton(KINECT, 6))[None]
    parents = list(KINECT.parents)
    got = stretch_bones(clip, KINECT, 0.2, torch.Generator().manual_seed(0))
    before, after = ((x - x[..., parents, :]).norm(dim=-1) for x in (clip, got))
    ratio = (after / before)[..., [j for j in range(20) if j != KINECT.root]]
    assert ratio.min() > 0.79
    assert ratio.max() < 1.21
    assert (ratio.amax(dim=1) - ratio.amin(dim=1)).max() < 1e-3  # one length per bone, for the whole clip
    assert torch.equal(got[..., KINECT.root, :], clip[..., KINECT.root, :])


def test_a_missing_body_is_not_augmented():
    clip = torch.from_numpy(moving_skeleton(KINECT, 4, persons=2))[None]
    clip[:, 1:3, 1] = 0
    made = read_recipe("utd-ctrgcn", ["noise=0.1", "drop_joints=0.2", "stretch_bones=0.1"])
    got = augment(clip, made, KINECT, torch.Generator().manual_seed(0))
    assert not got[:, 1:3, 1].any()
    assert got[:, 1:3, 0].any()


def test_live_training_goes_on_to_the_same_numbers(recipe, tmp_path):
    """Other random choices than whole clips make: windows, dropout, cosine."""
    skeleton = {
        "layout": "kinect20",
        "persons": 1,
        "centre": "each-frame",
        "resample": {"name": "fixed-seconds", "frames": 8, "seconds": 0.8},
    }
    changes = {"skeleton": skeleton, "live": {"windows": 32}, "schedule": "cosine", "drops": [], "epochs": 2}
    made = recipe(**changes, options={"dropout": 0.3}, noise=0.02, stretch_bones=0.1, select="last")
    train(made, tmp_path / "whole", threads=1)
    train(made, tmp_path / "parts", threads=1, stop_after_s=0.0)
    train(made, tmp_path / "parts", threads=1, resume=True)
    first, second = (torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("whole", "parts"))
    for name, tensor in first["model"].items():
        assert torch.equal(tensor, second["model"][name]), name
    for key, entry in first["optimiser"]["state"].items():
        assert torch.equal(entry["momentum_buffer"], second["optimiser"]["state"][key]["momentum_buffer"])


def test_a_failed_start_leaves_nothing(recipe, tmp_path):
    with pytest.raises(BadInput, match="holds no prepared data"):
        train(recipe(data=str(tmp_path / "nowhere")), tmp_path / "run", threads=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is fine on a GPU")
def test_fp16_on_a_cpu_is_refused(recipe, tmp_path):
    with pytest.raises(BadInput, match="fp16 needs a GPU"):
        train(recipe(precision="fp16"), tmp_path / "run", threads=1)


@pytest.mark.slow
def test_two_processes_train_one_network(recipe, tmp_path, waving):
    """torchrun on the CPU: both see their half of every batch, one writes the run."""
    import subprocess
    import sys

    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**FIELDS, "data": str(waving), "epochs": 2, "drops": []}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "ski_edge.cli.main", "train", str(path), "--out", str(tmp_path / "run"), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["finished"], result["processes"]) == (True, 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_a_gpu_goes_on(recipe, tmp_path):
    train(recipe(), tmp_path / "run", stop_after_s=0.0)
    assert train(recipe(), tmp_path / "run", resume=True)["finished"]
