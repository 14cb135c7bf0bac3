"""The optimizer against Kingma & Ba 2015, Algorithm 1, written out in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gcnxmodal.training.state import make_adam


def trained(optimizer: optax.GradientTransformation, steps: int = 7) -> tuple[jax.Array, optax.OptState]:
    """Parameters after some steps on sum(x^4) / 4, from (1, -2, 3)."""
    x = jnp.array([1.0, -2.0, 3.0])
    state = optimizer.init(x)
    for _ in range(steps):
        updates, state = optimizer.update(x**3, state, x)
        x = optax.apply_updates(x, updates)
    return x, state


def by_hand(learning_rate: float, decay: float, decay_steps: int, steps: int = 7) -> np.ndarray:
    x = np.array([1.0, -2.0, 3.0])
    m, v = np.zeros(3), np.zeros(3)
    for t in range(1, steps + 1):
        m, v = 0.9 * m + 0.1 * x**3, 0.999 * v + 0.001 * x**6
        rate = learning_rate * decay ** ((t - 1) // decay_steps)
        x = x - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return x


@pytest.mark.parametrize(("decay", "decay_steps"), [(1.0, 1), (0.5, 3)])
def test_adam_is_the_algorithm_with_a_staircase_decay(decay, decay_steps):
    found, _ = trained(make_adam(0.1, decay=decay, decay_steps=decay_steps))
    np.testing.assert_allclose(found, by_hand(0.1, decay, decay_steps), rtol=1e-4)
    assert not np.allclose(by_hand(0.1, 0.5, 3), by_hand(0.1, 1.0, 1), rtol=1e-2)


def test_first_moment_in_bfloat16_takes_half_the_bytes_and_nearly_the_same_steps():
    found, state = trained(make_adam(0.1, first_moment="bfloat16"))
    np.testing.assert_allclose(found, by_hand(0.1, 1.0, 1), rtol=1e-2)
    kinds = sorted(str(leaf.dtype) for leaf in jax.tree.leaves(state) if leaf.shape == (3,))
    assert kinds == ["bfloat16", "float32"]


def test_rates_may_be_arguments_of_a_program():
    @jax.jit
    @jax.vmap
    def at_once(rate, decay):
        return trained(make_adam(rate, decay=decay, decay_steps=3))[0]

    rows = at_once(jnp.array([0.1, 0.2]), jnp.array([1.0, 0.5]))
    for found, (rate, decay) in zip(rows, ((0.1, 1.0), (0.2, 0.5)), strict=True):
        np.testing.assert_allclose(found, by_hand(rate, decay, 3), rtol=1e-4)
