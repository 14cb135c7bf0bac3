"""GCH's networks and losses against its equations written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from reference import gch_numpy

from gcnxmodal.nn.layers import Features
from gcnxmodal.nn.losses import likelihood_loss
from gcnxmodal.papers.gch import GCH_1, GCH_2, GCH_BITS, GCH_DATA
from gcnxmodal.papers.table import two_directions
from gcnxmodal.systems.gch import (
    GCH,
    Beacon,
    GCHExperiment,
    GCHModel,
    GCHSystem,
    fuse,
    propagation,
    similar,
    similarity_loss,
    squared_error,
)

RANDOM = np.random.default_rng(0)
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]], bool)
A, B = (np.tanh(RANDOM.standard_normal((5, 8))).astype(np.float32) for _ in range(2))


def test_items_are_similar_if_they_share_a_label_and_one_without_any_not_even_to_itself():
    np.testing.assert_array_equal(similar(jnp.asarray(LABELS)), gch_numpy.similarities(LABELS))
    assert gch_numpy.similarities(LABELS)[3, 3] == 0


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_similarity_losses_are_the_equations(scale):
    similar_BB = similar(jnp.asarray(LABELS))
    for objective, by_hand in (
        ("paper", gch_numpy.paper_similarity_loss),
        ("official", gch_numpy.official_similarity_loss),
    ):
        found = similarity_loss(scale * A, scale * B, similar_BB, objective)
        np.testing.assert_allclose(found, by_hand(scale * A, scale * B, LABELS), rtol=1e-5)


def test_label_error_has_the_weight_of_the_equation_beside_the_likelihood():
    # Eq. 3 with alpha = beta = 1, over B^2.
    wanted = -np.sum(
        gch_numpy.similarities(LABELS) * gch_numpy.likelihood_terms(A, A, True)[0]
        - gch_numpy.likelihood_terms(A, A, True)[1]
    ) + np.sum((B - A) ** 2.0)
    similar_BB = similar(jnp.asarray(LABELS))
    found = likelihood_loss(A, A, similar_BB) + squared_error(B, A, "paper")
    np.testing.assert_allclose(25 * found, wanted, rtol=1e-5)
    np.testing.assert_allclose(squared_error(B, A, "official"), np.mean((B - A) ** 2), rtol=1e-6)


def test_likelihood_without_the_stable_form_would_overflow_at_128_bits():
    codes, similar_BB = jnp.ones((2, 128)), jnp.ones((2, 2))
    assert not jnp.isfinite(jnp.log(1 + jnp.exp(codes @ codes.T))).all()
    for objective in ("paper", "official"):
        value, gradient = jax.value_and_grad(similarity_loss)(codes, codes, similar_BB, objective)
        assert jnp.isfinite(value)
        assert jnp.isfinite(gradient).all()


def test_propagation_is_the_normalised_graph_of_shared_labels():
    found = propagation(jnp.asarray(LABELS))
    np.testing.assert_allclose(found, gch_numpy.propagation(LABELS), rtol=1e-6)
    assert found[3, 3] == 1
    assert found[3].sum() == 1


@pytest.mark.parametrize("fusion", ["frobenius", "largest", "softmax"])
def test_fusion_is_the_equation_with_each_norm(fusion):
    np.testing.assert_allclose(fuse(A, B, fusion), gch_numpy.fused(A, B, fusion), rtol=1e-5, atol=1e-6)
    for scale in (0.0, 1e15):  # nothing to weigh by, and products far beyond float32's squares
        assert jnp.isfinite(fuse(scale * A, scale * B, fusion)).all()


def test_beacon_without_a_graph_is_dense_layers_and_with_one_mixes_items_that_share_labels():
    beacon = Beacon(8, 6, 4, 3, "float32", nnx.Rngs(0))
    P = gch_numpy.propagation(LABELS)
    hidden, codes, labels = (
        np.asarray(layer.kernel) for layer in (beacon.hidden, beacon.codes, beacon.labels)
    )
    spread = P @ np.maximum(P @ A @ hidden, 0)
    found = beacon(A, propagation(jnp.asarray(LABELS)))
    np.testing.assert_allclose(found.codes, np.tanh(spread @ codes), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.labels, 1 / (1 + np.exp(-spread @ labels)), rtol=1e-4)
    dense = beacon(A, None)
    np.testing.assert_allclose(dense.codes, np.tanh(np.maximum(A @ hidden, 0) @ codes), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.codes[3], dense.codes[3], rtol=1e-5)  # the item that has itself alone
    assert not np.allclose(found.codes[0], dense.codes[0], atol=1e-3)


def test_beacon_codes_of_a_sigmoid_cannot_call_a_pair_dissimilar():
    """Why the paper's "sigmoid" of the second layer is not taken for its codes."""
    beacon = Beacon(8, 6, 4, 3, "float32", nnx.Rngs(0), activation="sigmoid")
    codes = beacon(A, propagation(jnp.asarray(LABELS))).codes
    assert (codes > 0).all()
    assert (codes @ codes.T > 0).all()


@pytest.fixture
def model() -> GCH:
    return GCH(Features(6), Features(9), 3, bits=16, width=12, beacon_width=7, rngs=nnx.Rngs(0))


def test_code_of_an_item_does_not_depend_on_the_items_beside_it(model):
    images = RANDOM.standard_normal((5, 6)).astype(np.float32)
    model.eval()
    np.testing.assert_allclose(model.encode_images(images)[:1], model.encode_images(images[:1]), rtol=1e-5)
    model.train()  # in training it does: batch statistics
    together, alone = model.encode_images(images)[:2], model.encode_images(images[:2])
    assert not np.allclose(together, alone, atol=1e-2)


def test_folded_codes_are_signs_and_their_product_is_the_hamming_distance(model):
    codes = model.fold_texts(jnp.array([[0.5, -0.5, 0.0], [0.5, 0.5, 0.5]]))
    np.testing.assert_array_equal(codes, [[1, -1, -1], [1, 1, 1]])
    assert codes[0] @ codes[1] == 3 - 2 * 2


def test_inputs_of_any_size_give_finite_codes(model):
    largest = np.finfo(np.float32).max
    for value in (largest, -largest, np.inf):
        for mode in (model.train, model.eval):
            mode()
            images = RANDOM.standard_normal((5, 6)).astype(np.float32)
            images[2, 1] = value
            assert jnp.isfinite(model.encode_images(images)).all()


def test_the_published_row_is_the_papers_at_its_data_sets_and_lengths_and_nothing_elsewhere():
    places = [(data, bits) for data in GCH_DATA for bits in GCH_BITS]
    columns = dict(zip(places, two_directions(GCH_1, "GCH"), strict=True))
    ablated = dict(zip([(data, 16) for data in GCH_DATA], two_directions(GCH_2, "GCH-A"), strict=True))
    for beacon, rows, table in (("graph", columns, 1), ("dense", ablated, 2)):
        for data in (*GCH_DATA, "emoji", "folder"):
            for bits in (*GCH_BITS, 48):
                experiment = GCHExperiment(model=GCHModel(bits=bits, beacon=beacon))
                row = GCHSystem.published_row(f"gch-{data}-official", experiment)
                if (data, bits) not in rows:
                    assert row is None
                    continue
                assert row is not None
                assert (row["text_query"], row["image_query"], row["average"]) == rows[data, bits]
                assert f"{bits} bits" in row["source"]
                assert f"Table {table}" in row["source"]
