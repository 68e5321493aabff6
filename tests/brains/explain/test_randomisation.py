import numpy as np
import pytest
import torch
from scipy import stats

from aekit.brains.config import BrainModelConfig
from aekit.brains.explain.randomisation import compare_maps, passes, randomised, rank_correlation, verdict
from aekit.brains.networks import AgeNet, Chain, DirectNet, Normalisation, TissueNet

SIZE = (8, 8, 8)
BRAIN = np.ones((6, 6, 6), bool)


def normalisation():
    tissues = torch.tensor([700.0, 500.0, 250.0])
    return Normalisation(
        tissues,
        tissues / 10,
        torch.tensor(40.0),
        torch.tensor(20.0),
        torch.tensor([20.0, 80.0]),
        torch.zeros(12),
        torch.ones(()),
    )


def direct():
    return DirectNet(BrainModelConfig(), SIZE, normalisation(), 12).eval()


def changed(before, after):
    """Return the names of weights that are not the same any more."""
    return {name for name, value in before.state_dict().items() if not torch.equal(value, after.state_dict()[name])}


def test_a_random_head_leaves_all_other_layers_and_the_network_itself_alone():
    network = direct()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    (found,) = randomised([network], "head", seed=3)
    assert changed(network, found) == {"net.head.weight", "net.head.bias"}
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_random_weights_in_all_layers_leave_the_histogram_and_the_scales_alone():
    chain = Chain(
        TissueNet(BrainModelConfig(target="absolute"), SIZE, normalisation(), 12),
        AgeNet(BrainModelConfig(target="absolute"), normalisation()),
    ).eval()
    names = changed(chain, randomised([chain], "all", seed=3)[0])
    assert {"tissues.net.head.weight", "age.net.0.weight", "tissues.net.encoder.0.weight"} <= names
    assert not any("histogram" in name or name.endswith((".mean", ".sd", "cumulative_mean")) for name in names)


def test_random_weights_follow_from_the_seed_and_leave_torchs_own_generator_alone():
    network = direct()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, again, other = (randomised([network], "all", seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert not changed(first, again)
    assert changed(first, other)


def maps(*seeds, shared=0.0):
    common = np.random.default_rng(99).normal(size=BRAIN.shape)
    return [{"occlusion": np.random.default_rng(seed).normal(size=BRAIN.shape) + shared * common} for seed in seeds]


def test_a_map_that_has_nothing_in_common_with_random_networks_passes():
    trained, *random = maps(0, 1, 2, 3)
    rows = compare_maps(trained, random, random, BRAIN)
    assert passes(rows, "occlusion")
    assert "passes" in verdict(rows, "occlusion")
    assert len(rows) == 3 + 3 + 3


def test_a_map_that_random_networks_give_as_well_fails():
    trained, *random = maps(0, 1, 2, 3, shared=3.0)
    rows = compare_maps(trained, random, random, BRAIN)
    assert not passes(rows, "occlusion")
    assert "shows the scans more than what was learned" in verdict(rows, "occlusion")


def test_a_map_with_the_opposite_sign_of_random_ones_fails():
    trained, *random = maps(0, 1, 2, shared=3.0)
    assert not passes(compare_maps({"occlusion": -trained["occlusion"]}, [], random, BRAIN), "occlusion")


def test_an_empty_map_does_not_pass():
    _, *random = maps(0, 1, 2)
    rows = compare_maps({"occlusion": np.zeros(BRAIN.shape)}, [], random, BRAIN)
    assert not passes(rows, "occlusion")
    assert "nothing to test" in verdict(rows, "occlusion")


def test_correlations_are_of_ranks_inside_the_brain():
    brain = BRAIN.copy()
    brain[:3] = False
    first, second = (one["occlusion"] for one in maps(0, 1, shared=1.0))
    (row,) = compare_maps({"occlusion": first}, [], [{"occlusion": second}], brain)
    assert row.n_voxels == brain.sum()
    assert row.signed == pytest.approx(stats.spearmanr(first[brain], second[brain]).statistic)
    assert row.absolute == pytest.approx(stats.spearmanr(np.abs(first[brain]), np.abs(second[brain])).statistic)
    assert rank_correlation(np.arange(5.0), np.exp(np.arange(5.0))) == pytest.approx(1)
