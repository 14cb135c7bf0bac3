"""SSPE's branches and losses against values worked by hand and slow NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from reference import sspe_numpy

from gcnxmodal.papers.sspe import SSPE_1, SSPE_DATA
from gcnxmodal.papers.table import two_directions
from gcnxmodal.systems.sspe.sspe import SSPE, SSPEExperiment, SSPESystem, centred_units, skip_gram_loss
from gcnxmodal.training.sharding import named_leaves


def test_the_skip_gram_loss_of_an_example_worked_by_hand():
    # Products 1 and 0 with the neighbours, -1 and 2 with the negatives:
    # log(1 + e^-1) + log 2 + log(1 + e^-1) + log(1 + e^2) = .3133 + .6931 + .3133 + 2.1269
    vertices = jnp.array([[1.0, 2.0]])
    near = jnp.array([[[1.0, 0.0], [2.0, -1.0]]])
    far = jnp.array([[[1.0, -1.0], [0.0, 1.0]]])
    np.testing.assert_allclose(skip_gram_loss(vertices, near, far), [3.4466], rtol=1e-4)
    no, yes = jnp.array([False]), jnp.array([True])
    np.testing.assert_allclose(skip_gram_loss(vertices, near, far, no, yes), [0.0])
    np.testing.assert_allclose(skip_gram_loss(vertices, near, far, yes, no), [1.0064], rtol=1e-4)


def test_the_skip_gram_loss_and_its_gradient_are_finite_where_a_sigmoid_is_zero():
    vertices = jnp.array([[1e4, -1e4]])
    near, far = jnp.array([[[-1e4, 1e4]]]), jnp.array([[[1e4, -1e4]]])
    value, gradient = jax.value_and_grad(lambda f: skip_gram_loss(f, near, far).sum())(vertices)
    assert value == pytest.approx(4e8)
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("output", ["tanh", "none"])
def test_branches_are_two_layers_on_centred_rows_of_unit_length(output):
    random = np.random.default_rng(0)
    x, mean = random.standard_normal((7, 9)).astype(np.float32), random.random(9).astype(np.float32)
    model = SSPE(jnp.zeros(4), jnp.asarray(mean), 3, hidden=6, dimension=5, output=output, rngs=nnx.Rngs(0))
    weights = {
        key.removesuffix(".value"): np.asarray(leaf, float)
        for key, leaf in named_leaves(nnx.state(model.text, nnx.Param)).items()
    }
    wanted = sspe_numpy.embedded(x, mean, weights, output)
    np.testing.assert_allclose(model.encode_texts(jnp.asarray(x)), wanted, rtol=1e-4, atol=1e-6)
    cosines = wanted @ wanted.T / np.outer(*2 * [np.linalg.norm(wanted, axis=1)])
    folded = model.fold_texts(model.encode_texts(jnp.asarray(x)))
    np.testing.assert_allclose(folded @ folded.T, cosines, rtol=1e-4, atol=1e-6)


def test_labels_are_read_off_by_a_linear_map():
    model = SSPE(jnp.zeros(4), jnp.zeros(4), 2, dimension=2, rngs=nnx.Rngs(0))
    model.labels.kernel.set_value(jnp.array([[1.0, 0.0], [1.0, 2.0]]))
    model.labels.bias.set_value(jnp.array([0.5, 0.0]))  # pyright: ignore[reportOptionalMemberAccess]
    # g = (1 + 1 + .5, 2) = (2.5, 2), z = (1, 0): 1.5^2 + 2^2
    error = model.label_error(jnp.array([[1.0, 1.0]]), jnp.array([[True, False]]))
    np.testing.assert_allclose(error, [6.25])


def test_centring_can_neither_overflow_nor_divide_by_zero():
    largest = float(np.finfo(np.float32).max)
    x = jnp.array([[largest, -largest, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0 + 1e-6]])
    mean = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(centred_units(x, mean)[0], [0.5**0.5, -(0.5**0.5), 0], atol=1e-6)
    np.testing.assert_array_equal(centred_units(x, mean)[1], 0)
    np.testing.assert_allclose(centred_units(x, mean)[2], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(
        centred_units(x, -largest * jnp.ones(3))[0], [2 / 5**0.5, 0, 1 / 5**0.5], atol=1e-6
    )


def test_the_published_row_is_the_papers_at_its_data_sets_and_nothing_elsewhere():
    for data, values in zip(SSPE_DATA, two_directions(SSPE_1, "SSPE"), strict=True):
        row = SSPESystem.published_row(f"sspe-{data}", SSPEExperiment())
        assert row is not None
        assert (row["text_query"], row["image_query"], row["average"]) == values
    assert SSPESystem.published_row("sspe-emoji", SSPEExperiment()) is None
