"""The best cell has the lowest mean over its seeds, and is the best of these."""

from __future__ import annotations

from aekit.images.sweep.best import choose_best


def test_settings_are_compared_by_their_mean_and_of_them_the_best_seed_is_chosen(make_done):
    lucky, unlucky = make_done(1.0, latent=2, seed=0), make_done(99.0, latent=2, seed=1)
    steady, best = make_done(31.0, latent=4, seed=0), make_done(30.0, latent=4, seed=1)
    done = [lucky, unlucky, steady, best]
    assert choose_best(done, ["latent", "seed"], "total") is best
    assert choose_best(done, ["latent", "seed"], "mse") is best


def test_seeds_alone_are_compared_directly(make_done):
    done = [make_done(2.0, seed=0), make_done(1.0, seed=1)]
    assert choose_best(done, ["seed"], "total") is choose_best(done, ["seed"], "elbo") is done[1]


def test_a_setting_that_only_some_have_does_not_hide_them(make_done):
    done = [make_done(2.0), make_done(1.0, kind="ae")]
    assert choose_best(done, ["model", "beta"], "mse") is done[1]


def test_results_on_different_splits_are_averaged_and_not_compared(make_done):
    """Split 1 has easy images: its single best value belongs to the settings and the seed that are worse on average."""
    values = {(2, 0, 0): 50, (2, 0, 1): 1, (2, 1, 0): 40, (2, 1, 1): 30, (4, 0, 0): 20, (4, 0, 1): 12, (4, 1, 0): 19,
              (4, 1, 1): 11}  # fmt: skip
    done = [
        make_done(float(value), latent=latent, seed=seed, split_seed=split)
        for (latent, seed, split), value in reversed(values.items())
    ]
    chosen = choose_best(done, ["latent", "split_seed", "seed"], "elbo").cell.config
    assert (chosen.model.latent, chosen.train.seed, chosen.data.split_seed) == (4, 1, 0)


def test_splits_alone_give_the_first(make_done):
    done = [make_done(1.0, split_seed=7), make_done(2.0, split_seed=3)]
    assert choose_best(done, ["split_seed"], "total") is done[1]


def test_of_cells_that_differ_in_their_labels_alone_the_first_is_chosen(make_done):
    cells = [(latent, labels) for latent in (2, 4) for labels in ("a.csv", "b.csv")]
    done = [make_done(40.0 - latent, latent=latent, labels=labels) for latent, labels in cells]
    assert choose_best(done, ["latent", "labels"], "elbo") is done[2]
