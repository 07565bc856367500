"""One run, however it is cut: killed and resumed, accumulated, shared by processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
import yaml

from ski_edge.errors import BadInput
from ski_edge.models import load_model
from ski_edge.train.ski.loop import train_ski

# A network without BatchNorm, on clips without chance: only then is a batch the sum of its clips.
NO_CHANCE = {
    "student": {"arch": "tiny"},
    "text": {"arch": "tiny"},
    "data": {"seen_test_share": 0},
    "video": {
        "preprocessing": {"resize_short": 224, "crop": 224},
        "sampling": "stride",
        "rate": 2,
        "flip": 0,
        "colour_jitter": 0,
        "grey": 0,
    },
}
PADDED = {"name": "zero-pad", "frames": 20}  # no window is drawn
RUN = """
import sys, yaml
from pathlib import Path
from ski_edge.train.fabric import part
from ski_edge.train.recipe import parse_recipe
from ski_edge.train.ski.loop import train_ski
from ski_edge.train.ski.stages import Stages
recipe, out = parse_recipe(yaml.safe_load(Path(sys.argv[1]).read_text()), "recipe of the test"), Path(sys.argv[2])
stages, stop = Stages(recipe, root=out.parent / "stages", threads=1), 0.0 if "--stop" in sys.argv else None
train_ski(recipe, out, stages, resume="--resume" in sys.argv, threads=1, stop_after_s=stop)
part()
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def state_of(folder):
    return torch.load(folder / "state.pt", weights_only=True)


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("average", ["none", "epochs", "ema"])
def test_a_stopped_run_goes_on_to_the_same_numbers(average, ski_recipe, tmp_path, no_stage):
    """Between epochs; colours, crops, mixing, turns and averaging included."""
    changes = {"optim": {"epochs": 3, "average": average, "ema_decay": 0.5, "accumulate": 2, "batch_size": 2}}
    recipe = ski_recipe("scd", changes, {"video": {"crop": "multi-scale", "mixup_alpha": 0.8, "cutmix_alpha": 1.0}})
    whole = train_ski(recipe, tmp_path / "whole", no_stage, threads=1)
    part = train_ski(recipe, tmp_path / "parts", no_stage, threads=1, stop_after_s=0.0)
    assert (part["finished"], part["epochs"]) == (False, 1)
    assert not (tmp_path / "parts" / "checkpoint").exists()
    for _ in range(2):
        last = train_ski(recipe, tmp_path / "parts", no_stage, resume=True, threads=1, stop_after_s=0.0)
    assert {key: value for key, value in last.items() if key != "seconds"} == {
        key: value for key, value in whole.items() if key != "seconds"
    }
    first, second = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    assert_equal(first["model"], second["model"])
    if average != "none":
        assert first["average"]["count"] == second["average"]["count"] > 1
        assert_equal(first["average"]["tensors"], second["average"]["tensors"])
    checkpoints = [(tmp_path / run / "checkpoint" / "model.safetensors").read_bytes() for run in ("whole", "parts")]
    assert checkpoints[0] == checkpoints[1]
    logs = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("whole", "parts")]
    assert [line.rsplit(",", 1)[0] for line in logs[0]] == [line.rsplit(",", 1)[0] for line in logs[1]]


def test_a_killed_run_goes_on_to_the_same_numbers(ski_fields, ski_recipe, tmp_path, no_stage):
    """kill -9 in the middle of an epoch; the resumed run does not begin that epoch again."""
    optim = {"epochs": 2, "batch_size": 2, "save_every": 1, "average": "ema", "ema_decay": 0.5}
    changes = ("scd", {"optim": optim})
    train_ski(ski_recipe(*changes), tmp_path / "whole", no_stage, threads=1)
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "parts"
    recipe.write_text(yaml.safe_dump(ski_fields(*changes)))
    killed_at = kill_inside_an_epoch([sys.executable, "-c", RUN, str(recipe), str(out)], out)
    assert 0 < killed_at["step"] < 4
    train_ski(ski_recipe(*changes), out, no_stage, resume=True, threads=1)
    first, second = state_of(tmp_path / "whole"), state_of(out)
    assert_equal(first["model"], second["model"])
    assert_equal(first["average"]["tensors"], second["average"]["tensors"])
    logs = [(run / "log.csv").read_text().splitlines() for run in (tmp_path / "whole", out)]
    assert [line.rsplit(",", 1)[0] for line in logs[0]] == [line.rsplit(",", 1)[0] for line in logs[1]]


def kill_inside_an_epoch(command, out):
    """Start, wait for a state that was saved inside an epoch, kill; returns what state was left."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        seen, end = None, time.monotonic() + 240
        while time.monotonic() < end and process.poll() is None:
            path = out / "state.pt"
            now = path.stat().st_mtime_ns if path.exists() else None
            if now != seen:
                # Stopped, the process cannot finish the epoch while its state is read.
                os.kill(process.pid, signal.SIGSTOP)
                state = state_of(out)
                if state["step"] > 0:
                    process.kill()
                    process.wait()
                    return state_of(out)
                os.kill(process.pid, signal.SIGCONT)
                seen = now
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    raise AssertionError(f"no state was saved inside an epoch: {process.stderr.read()[-2000:]}")


def test_time_may_be_over_inside_an_epoch(ski_recipe, tmp_path, no_stage):
    """At the next save; going on gives the same log, too."""
    changes = ("scd", {"optim": {"epochs": 2, "batch_size": 2, "save_every": 1}})
    train_ski(ski_recipe(*changes), tmp_path / "whole", no_stage, threads=1)
    part = train_ski(ski_recipe(*changes), tmp_path / "parts", no_stage, threads=1, stop_after_s=0.0)
    assert (part["finished"], part["epochs"], state_of(tmp_path / "parts")["step"]) == (False, 0, 1)
    train_ski(ski_recipe(*changes), tmp_path / "parts", no_stage, resume=True, threads=1)
    assert_equal(state_of(tmp_path / "whole")["model"], state_of(tmp_path / "parts")["model"])
    logs = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("whole", "parts")]
    assert [line.rsplit(",", 1)[0] for line in logs[0]] == [line.rsplit(",", 1)[0] for line in logs[1]]


def test_run_folders_are_not_mixed(ski_recipe, tmp_path, no_stage):
    recipe = ski_recipe("skeletonclip")
    result = train_ski(recipe, tmp_path / "run", no_stage, threads=1)
    with pytest.raises(BadInput, match="already holds a run; add --resume"):
        train_ski(recipe, tmp_path / "run", no_stage, threads=1)
    noise = {"teacher": {"augment": {"noise": 0.5}}}
    for change, what in (({"seed": 2}, r"seed \(1 -> 2\)"), (noise, r"teacher.augment.noise \(0.01 -> 0.5\)")):
        with pytest.raises(BadInput, match=f"differs from this recipe in {what}; resume with the same"):
            train_ski(ski_recipe("skeletonclip", change), tmp_path / "run", no_stage, resume=True, threads=1)
    before = (tmp_path / "run" / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    assert train_ski(recipe, tmp_path / "run", no_stage, resume=True, threads=1) == result
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").stat().st_mtime_ns == before


def test_a_run_goes_on_with_the_stages_it_began_with(ski_recipe, tmp_path, no_stage):
    recipe = ski_recipe("skeletonclip", {"optim": {"epochs": 2}})
    train_ski(recipe, tmp_path / "run", no_stage, threads=1, stop_after_s=0.0, before={"bones": "bones-1"})
    says = "began with bones as in bones-1, it would now be bones-2; go on with the same bones:KEY=VALUE changes"
    with pytest.raises(BadInput, match=says):
        train_ski(recipe, tmp_path / "run", no_stage, threads=1, resume=True, before={"bones": "bones-2"})
    last = train_ski(recipe, tmp_path / "run", no_stage, threads=1, resume=True, before={"bones": "bones-1"})
    assert last["finished"]


def test_a_run_that_was_killed_while_it_was_measured_is_measured_again(ski_recipe, tmp_path, no_stage):
    recipe = ski_recipe("skeletonclip")
    result = train_ski(recipe, tmp_path / "run", no_stage, threads=1)
    (tmp_path / "run" / "result.json").unlink()
    assert train_ski(recipe, tmp_path / "run", no_stage, resume=True, threads=1) == result


def test_a_last_step_of_fewer_batches_counts_those_it_has(ski_recipe, tmp_path, no_stage):
    """12 clips: 3 batches of 4, in steps of two, are 2 steps; 1 batch of 8, in steps of two, is as a step of one."""
    ends = {}
    for size, every in ((4, 2), (8, 1), (8, 2)):
        recipe = ski_recipe("student", NO_CHANCE, {"optim": {"batch_size": size, "accumulate": every}})
        train_ski(recipe, tmp_path / f"{size}-{every}", no_stage, threads=1)
        ends[size, every] = state_of(tmp_path / f"{size}-{every}")
    assert {int(entry["step"]) for entry in ends[4, 2]["optimiser"]["state"].values()} == {2}
    assert {int(entry["step"]) for entry in ends[8, 2]["optimiser"]["state"].values()} == {1}
    assert_equal(ends[8, 1]["model"], ends[8, 2]["model"])


def test_one_step_of_two_halves_is_one_step(ski_recipe, tmp_path, no_stage):
    ends, rows = [], []
    for size, every in ((8, 1), (4, 2)):
        data = {"data": {"split": "unseen:squat;front boxing;walking in place"}}  # 8 clips train
        changes = {"optim": {"batch_size": size, "accumulate": every, "lr": 1e-4, "eps": 1e-3}}
        recipe = ski_recipe("student", NO_CHANCE, data, changes)
        out = tmp_path / str(size)
        train_ski(recipe, out, no_stage, threads=1, report=lambda row, _: rows.append(row))
        ends.append(state_of(out))
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-5)
    for key, entry in ends[0]["optimiser"]["state"].items():
        torch.testing.assert_close(
            entry["exp_avg"], ends[1]["optimiser"]["state"][key]["exp_avg"], rtol=1e-3, atol=1e-6
        )
    for name, tensor in ends[0]["model"].items():
        torch.testing.assert_close(tensor, ends[1]["model"][name], rtol=0, atol=2e-6)


def test_a_batch_must_divide_among_processes(ski_recipe, tmp_path, no_stage, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(BadInput, match=r"batch_size 4 does not divide among 3 processes"):
        train_ski(ski_recipe("student"), tmp_path / "run", no_stage)


@pytest.mark.slow
def test_a_compiled_network_is_the_same(ski_recipe, tmp_path, no_stage):
    changes = ("student", {"optim": {"batch_size": 4, "epochs": 1, "lr": 1e-4, "eps": 1e-3}})
    rows = []
    for compile in (False, True):
        recipe = ski_recipe(*changes, {"optim": {"compile": compile}})
        train_ski(recipe, tmp_path / str(compile), no_stage, threads=1, report=lambda row, _: rows.append(row))
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-4)
    first, second = state_of(tmp_path / "False"), state_of(tmp_path / "True")
    assert first["model"].keys() == second["model"].keys()
    for name, tensor in first["model"].items():
        torch.testing.assert_close(tensor, second["model"][name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the processes would ask for two GPUs")
@pytest.mark.parametrize("objective", ["student", "tri-modal"])
def test_two_processes_are_one(objective, ski_fields, ski_recipe, tmp_path, no_stage):
    """Over gloo: the same losses and weights as one process with the same batch; tri-modal compares all clips of it."""
    still = {"freeze": True, "freeze_statistics": True, "augment": None, "skeleton": {"resample": PADDED}}
    still = {"teacher": still} if objective != "student" else {}
    optim = {"optim": {"batch_size": 4, "epochs": 1, "lr": 1e-4, "eps": 1e-3}}
    changes = (objective, NO_CHANCE, still, optim)
    rows = []
    train_ski(ski_recipe(*changes), tmp_path / "one", no_stage, threads=1, report=lambda row, _: rows.append(row))
    for more in ([], ["--resume"]):  # a finished run returns its result in every process
        run_two_processes(ski_fields(*changes), tmp_path, *more)
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    assert (result["finished"], result["processes"]) == (True, 2)
    log = (tmp_path / "two" / "log.csv").read_text().splitlines()
    found = dict(zip(log[0].split(","), map(float, log[1].split(",")), strict=True))
    assert found["loss"] == pytest.approx(rows[0]["loss"], rel=1e-5)
    first, second = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    for name, tensor in first["model"].items():
        torch.testing.assert_close(tensor, second["model"][name], rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the processes would ask for two GPUs")
def test_two_processes_train_a_stage_together(ski_fields, tmp_path):
    """Both sides learn; the teacher begins with a stage that is not there yet."""
    (tmp_path / "bones.yaml").write_text(yaml.safe_dump(ski_fields("skeletonclip")))
    run_two_processes(ski_fields("scd", {"teacher": {"init": f"recipe:{tmp_path / 'bones.yaml'}"}}), tmp_path)
    (stage,) = (path for path in (tmp_path / "stages").iterdir() if path.is_dir())
    for out in (stage, tmp_path / "two"):
        result = json.loads((out / "result.json").read_text())
        assert (result["finished"], result["processes"]) == (True, 2)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the processes would ask for two GPUs")
def test_a_sharded_network_learns_as_a_whole_one(ski_fields, ski_recipe, tmp_path, no_stage):
    """FSDP over gloo, with what needs all of a network: clipping, averaging, accumulation, saving, going on."""
    optim = {"batch_size": 4, "epochs": 2, "lr": 1e-4, "eps": 1e-3, "clip_norm": 0.5, "accumulate": 2, "average": "ema"}
    changes = ("student", NO_CHANCE, {"optim": optim | {"ema_decay": 0.5}})
    rows = []
    train_ski(ski_recipe(*changes), tmp_path / "one", no_stage, threads=1, report=lambda row, _: rows.append(row))
    fields = ski_fields(*changes, {"optim": {"shard": True}})
    run_two_processes(fields, tmp_path, "--stop")
    assert state_of(tmp_path / "two")["epoch"] == 1
    run_two_processes(fields, tmp_path, "--resume")
    log = (tmp_path / "two" / "log.csv").read_text().splitlines()
    for line, row in zip(log[1:], rows, strict=True):
        found = dict(zip(log[0].split(","), map(float, line.split(",")), strict=True))
        assert found["loss"] == pytest.approx(row["loss"], rel=1e-4)
    first, second = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    assert first["model"].keys() == second["model"].keys()
    means = [state["average"]["tensors"] for state in (first, second)]
    for name, tensor in first["model"].items():
        torch.testing.assert_close(tensor, second["model"][name], rtol=0, atol=4e-6)
        torch.testing.assert_close(means[0][name], means[1][name], rtol=0, atol=4e-6)
    # so that the tolerance says something
    assert max(float((tensor - means[0][name]).abs().max()) for name, tensor in first["model"].items()) > 2e-5
    whole, sharded = (load_model(tmp_path / run / "checkpoint").state_dict() for run in ("one", "two"))
    for name, tensor in whole.items():
        torch.testing.assert_close(tensor, sharded[name], rtol=0, atol=4e-6)


def test_one_process_has_nothing_to_share(ski_recipe, tmp_path, no_stage):
    with pytest.raises(BadInput, match="shard divides a network among processes; start several: torchrun"):
        train_ski(ski_recipe("student", {"optim": {"shard": True}}), tmp_path / "run", no_stage)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the processes would ask for two GPUs")
def test_two_nodes_are_one(ski_fields, ski_recipe, tmp_path, no_stage):
    """Two torchruns that find each other, a process each, as on two machines."""
    changes = ("student", NO_CHANCE, {"optim": {"batch_size": 4, "epochs": 1, "lr": 1e-4, "eps": 1e-3}})
    rows = []
    train_ski(ski_recipe(*changes), tmp_path / "one", no_stage, threads=1, report=lambda row, _: rows.append(row))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    command = script(ski_fields(*changes), tmp_path)
    nodes = [subprocess.Popen([*TORCHRUN, *meet, "--node-rank", str(rank), *command]) for rank in (0, 1)]
    assert [node.wait(timeout=400) for node in nodes] == [0, 0]
    assert json.loads((tmp_path / "two" / "result.json").read_text())["processes"] == 2
    log = (tmp_path / "two" / "log.csv").read_text().splitlines()
    found = dict(zip(log[0].split(","), map(float, log[1].split(",")), strict=True))
    assert found["loss"] == pytest.approx(rows[0]["loss"], rel=1e-5)


def script(fields, folder):
    """Arguments of torchrun that train into folder/two."""
    recipe, program = folder / "recipe.yaml", folder / "run.py"
    recipe.write_text(yaml.safe_dump(fields))
    program.write_text(RUN)
    return [str(program), str(recipe), str(folder / "two")]


def run_two_processes(fields, folder, *more):
    """torchrun on the CPU, into folder/two."""
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", *script(fields, folder), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-9000:]
