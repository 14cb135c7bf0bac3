"""What is timed as one graph convolution must be one, forward and backward."""

import numpy as np
import pytest

from benchmarks import layer, layer_profile, scale
from benchmarks.peers import PEERS
from benchmarks.specs import LayerCase

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

# Ours are tested in tests/graph, against more.
OTHERS = [name for name in PEERS if not name.startswith("ours")]


@pytest.mark.parametrize(("F_in", "F_out", "first"), [(2, 3, False), (3, 2, False), (1, 3, True)])
@pytest.mark.parametrize("name", OTHERS)
def test_every_peer_computes_the_layer_of_float64(name, F_in, F_out, first, tiny, words):
    problem = layer.make_problem(LayerCase(tiny, F_in, F_out, 5, first), words)
    try:
        peer = PEERS[name](problem)
    except ImportError as missing:
        pytest.skip(str(missing))
    errors = layer.relative_errors(peer.results(), layer.exact(problem))
    assert (errors.pop("error dx") is None) == first
    assert all(error < 1e-5 for error in errors.values() if error is not None), errors
    assert tuple(peer.forward().shape) == tuple(peer.step()[0].shape)


def test_real_and_scaled_laplacian_belong_together(words):
    """L~ has its spectrum in [-1, 1] and reaches 1."""
    scaled = words.scaled.toarray()
    eigenvalues = np.linalg.eigvalsh(scaled)
    assert eigenvalues[-1] == pytest.approx(1, abs=1e-9)
    assert eigenvalues[0] >= -1 - 1e-9


def test_synthetic_texts_are_as_sparse_as_real_ones():
    from benchmarks.graphs import synthetic_words

    counts = synthetic_words(2_000, texts=300).counts
    density = counts.nnz / (300 * 2_000)
    assert 0.02 < density < 0.06  # at 10,055 words, 1 %
    assert np.median(counts.sum(axis=1)) == pytest.approx(158, rel=0.1)


def test_scale_times_points_of_the_size_they_name():
    point = scale.Point(words=200, neighbours=3, batch=3, filters=2)
    timed = scale.make_layer(point)
    y, dx, dtheta = timed.step()
    assert y.shape == dx.shape == (200, 2, 3)
    assert dtheta.shape == (3, 2, 2)
    assert 200 * 4 <= timed.entries <= 200 * 7  # 3 to 6 neighbours on average, and the diagonal


def test_each_axis_of_scale_changes_one_thing():
    for axis, points in scale.AXES.items():
        assert scale.Point() in points, axis
        changed = {
            name for point in points for name in vars(point) if vars(point)[name] != vars(points[0])[name]
        }
        assert len(changed) == 1, axis


def test_parts_of_the_profile_are_those_of_one_layer(tiny, words):
    problem = layer.make_problem(LayerCase(tiny, 3, 3, 5, False), words)
    parts = layer_profile.parts(problem)
    N, F, B = problem.x_NFB.shape
    product = np.asarray(parts["product"]())
    theirs = np.asarray(parts["product, CSR"]()).reshape(N, B, F).transpose(0, 2, 1)
    np.testing.assert_allclose(theirs, product, atol=1e-5)
    weights = np.stack(parts["weights"](), axis=1)  # [N, K, F, B]
    theirs = np.asarray(parts["weights, CSR"]()).reshape(N, B, -1, F).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(theirs, weights, atol=1e-5)
    expected = layer.exact(problem)[0]
    np.testing.assert_allclose(np.asarray(parts["step"]()[0]), expected, atol=1e-4)
