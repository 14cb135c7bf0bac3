import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hashing_data import several_labels

from gcnxmodal.baselines.two_branches import DCMH, apply_branch, dcmh_loss, init_branch
from gcnxmodal.errors import InputError

SHORT = {"epochs": 12, "batch": 32, "hidden": 64, "learning_rate": 3e-3}


def test_a_step_lowers_the_papers_objective_over_its_pairs():
    # F: outputs of all images, of which the first three are the batch; G: of all texts.
    random = np.random.default_rng(0)
    F, G = random.standard_normal((2, 7, 4))
    S = random.random((7, 7)) < 0.4
    B = np.sign(F + G)

    def objective(F):
        theta = F @ G.T / 2
        return (
            sum(np.log1p(np.exp(theta[i, j])) - S[i, j] * theta[i, j] for i in range(7) for j in range(7))
            + 0.3 * np.sum((F - B) ** 2)
            + 0.3 * np.sum((G - B) ** 2)
            + 0.7 * (np.sum(F.sum(axis=0) ** 2) + np.sum(G.sum(axis=0) ** 2))
        )

    def loss(batch):
        others, codes, rest = jnp.asarray(G), jnp.asarray(B[:3]), jnp.asarray(F[3:].sum(axis=0))
        similar = jnp.asarray(S[:3], jnp.float32)
        return dcmh_loss(batch, others, codes, rest, similar, 0.3, 0.7) * 21  # its pairs

    found = jax.grad(loss)(jnp.asarray(F[:3]))
    for i, k in np.ndindex(3, 4):
        move = np.zeros_like(F)
        move[i, k] = 1e-5
        assert (objective(F + move) - objective(F - move)) / 2e-5 == pytest.approx(
            float(found[i, k]), abs=1e-4
        )


def test_training_lowers_the_loss():
    method = DCMH(8, **SHORT).fit(*several_labels())
    assert method.losses_.shape == (12,)
    assert method.losses_[-1] < 0.7 * method.losses_[0]


def test_another_seed_gives_other_codes():
    images, texts, labels = several_labels()
    first, other = (DCMH(4, random_state=seed, **SHORT).fit(images, texts, labels) for seed in (0, 1))
    assert not np.array_equal(first.encode_texts(texts), other.encode_texts(texts))


def test_host_and_device_apply_a_network_alike():
    layers = init_branch(jax.random.key(0), (15, 20, 6))
    x = np.random.default_rng(0).standard_normal((9, 15)).astype(np.float32)
    on_host = apply_branch(jax.tree.map(np.asarray, layers), x, "relu", np)
    np.testing.assert_allclose(on_host, apply_branch(layers, jnp.asarray(x), "relu"), atol=1e-5)
    first, second = ((np.asarray(w), np.asarray(b)) for w, b in layers)
    np.testing.assert_allclose(on_host, np.maximum(x @ first[0] + first[1], 0) @ second[0] + second[1])


def test_diverging_training_says_what_to_lower():
    with pytest.raises(InputError, match=r"learning_rate 1e\+30: after 12 epochs weights are not finite"):
        DCMH(4, **{**SHORT, "learning_rate": 1e30}).fit(*several_labels())
