import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gcnxmodal.nn.losses import pairwise_similarity_loss


def test_constant_score_has_loss_of_exactly_balance_times_margin():
    scores, match = jnp.full(200, 0.37), jnp.arange(200) < 100
    loss, _ = pairwise_similarity_loss(scores, match, margin=0.6, balance=0.35)
    assert float(loss) == pytest.approx(0.21, abs=1e-7)


def test_hand_worked_example_with_an_active_hinge():
    # matching .8 .4 .6: mean .6, variance .08/3; others .5 .1: mean .3, variance .04
    # hinge .6 - .3 = .3; loss = .0266667 + .04 + .35 * .3
    scores = jnp.array([0.8, 0.5, 0.4, 0.1, 0.6])
    match = jnp.array([True, False, True, False, True])
    loss, metrics = pairwise_similarity_loss(scores, match)
    assert float(loss) == pytest.approx(0.08 / 3 + 0.04 + 0.35 * 0.3, rel=1e-6)
    assert float(metrics["mean_match"]) == pytest.approx(0.6)
    assert float(metrics["mean_other"]) == pytest.approx(0.3)


def test_separated_narrow_scores_cost_nothing():
    match = jnp.array([True, True, False])
    loss, _ = pairwise_similarity_loss(jnp.where(match, 1.0, 0.0), match)
    assert float(loss) == 0


@pytest.mark.parametrize("kind", [True, False])
def test_batch_of_one_kind_has_variance_only_and_finite_gradients(kind: bool):
    scores, match = jnp.array([0.0, 1.0]), jnp.full(2, kind)
    (loss, _), gradient = jax.value_and_grad(pairwise_similarity_loss, has_aux=True)(scores, match)
    assert float(loss) == pytest.approx(0.25)
    assert np.isfinite(gradient).all()


def test_a_grid_counts_every_pair():
    random = np.random.default_rng(0)
    scores, match = random.standard_normal((5, 7)), random.random((5, 7)) < 0.4
    grid, _ = pairwise_similarity_loss(jnp.asarray(scores), jnp.asarray(match))
    pairs, _ = pairwise_similarity_loss(jnp.asarray(scores.ravel()), jnp.asarray(match.ravel()))
    assert float(grid) == pytest.approx(float(pairs), rel=1e-6)


def test_gradient_equals_finite_differences_in_float64():
    random = np.random.default_rng(1)
    match = jnp.asarray(random.random(12) < 0.5)
    scores = random.standard_normal(12) * 0.1
    with jax.enable_x64(True):

        def loss(s):
            return pairwise_similarity_loss(s, match)[0]

        gradient = jax.grad(loss)(jnp.asarray(scores))
        for i in range(12):
            step = np.zeros(12)
            step[i] = 1e-6
            slope = (loss(jnp.asarray(scores + step)) - loss(jnp.asarray(scores - step))) / 2e-6
            assert float(gradient[i]) == pytest.approx(float(slope), abs=1e-8)
