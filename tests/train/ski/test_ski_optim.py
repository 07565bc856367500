"""Groups, learning rate, means of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ski_edge.errors import BadInput
from ski_edge.train.ski.optim import Average, lr_at, parameter_groups
from ski_edge.train.ski.recipe import Optim


@pytest.fixture
def network():
    return nn.ModuleDict({"tower": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), "head": nn.Linear(4, 2)})


def optim(**fields) -> Optim:
    return Optim(epochs=5, lr=0.1, weight_decay=0.5, **fields)


def decays(network: nn.Module, groups: list) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(p)]: (group["factor"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_vectors_decay_only_if_asked(network):
    found = decays(network, parameter_groups(network, optim()))
    assert {name for name, (_, decay) in found.items() if decay} == {"tower.0.weight", "head.weight"}
    found = decays(network, parameter_groups(network, optim(decay_vectors=True)))
    assert set(found) == {name for name, _ in network.named_parameters()}
    assert {decay for _, decay in found.values()} == {0.5}


def test_factors_go_by_the_longest_prefix_and_zero_freezes(network):
    found = decays(network, parameter_groups(network, optim(lr_factors={"tower": 10, "tower.1": 0, "head": 2})))
    assert {name: factor for name, (factor, _) in found.items()} == {
        "tower.0.weight": 10,
        "tower.0.bias": 10,
        "head.weight": 2,
        "head.bias": 2,
    }
    assert not network["tower"][1].weight.requires_grad


def test_a_prefix_that_a_longer_one_covers_is_no_mistake(network):
    found = decays(network, parameter_groups(network, optim(lr_factors={"head": 3, "head.weight": 1, "head.bias": 2})))
    assert (found["head.weight"][0], found["head.bias"][0]) == (1, 2)


def test_wrong_factors_are_named(network):
    with pytest.raises(BadInput, match="no parameter begins with 'haed'"):
        parameter_groups(network, optim(lr_factors={"haed": 2}))
    with pytest.raises(BadInput, match="nothing is left to train"):
        parameter_groups(network, optim(lr_factors={"tower": 0, "head": 0}))


@pytest.mark.parametrize(("warmup", "start"), [(0, 0.0), (2, 0.0), (2, 0.01)])
def test_learning_rate_is_timms(warmup, start):
    scheduler = pytest.importorskip("timm.scheduler.cosine_lr", reason="timm is not installed")
    made = optim(lr_min=0.01, warmup_epochs=warmup, warmup_start=start)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = scheduler.CosineLRScheduler(
        optimiser,
        t_initial=5 * 7,
        lr_min=0.001,
        warmup_lr_init=0.1 * start,
        warmup_t=warmup * 7,
        t_in_epochs=False,
    )
    for step in range(5 * 7):
        theirs.step_update(step)
        assert lr_at(made, step, 7) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9, abs=1e-12), step


def changed(network: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """New weights and statistics in `network`; returns a copy."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            else:
                tensor.fill_(seed)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_mean_of_epochs_is_the_plain_mean(network):
    average, seen = Average(network, None), []
    for seed in range(4):
        seen.append(changed(network, seed))
        average.add(network)
    average.apply(network)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, torch.stack([state[name] for state in seen]).mean(dim=0))
        else:
            assert tensor == 3  # counters are the last ones


def test_exponential_mean(network):
    average, wanted = Average(network, 0.9), None
    for seed in range(4):
        now = changed(network, seed)["head.weight"]
        average.add(network)
        wanted = now if wanted is None else 0.9 * wanted + 0.1 * now
    average.apply(network)
    torch.testing.assert_close(network["head"].weight.detach(), wanted)


def test_a_mean_goes_on_from_its_state(network):
    whole, first = Average(network, None), Average(network, None)
    for seed in range(2):
        changed(network, seed)
        whole.add(network)
        first.add(network)
    second = Average(network, None)
    second.load_state_dict(first.state_dict())
    for average in (whole, second):
        changed(network, 7)
        average.add(network)
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in whole.tensors.items())


def test_a_mean_of_nothing_changes_nothing(network):
    before = changed(network, 1)
    Average(network, None).apply(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
