"""Principal axes of equal features are sought once."""

import numpy as np
import pytest
import scipy.sparse as sp

from gcnxmodal.baselines import linear as module
from gcnxmodal.baselines.linear import RECENT, principal_axes


@pytest.fixture
def sought(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the features whose axes are sought from here on."""
    calls, really = [], module._find
    monkeypatch.setattr(module, "_recent", type(module._recent)())
    monkeypatch.setattr(
        module, "_find", lambda features, *a: (calls.append(features.shape), really(features, *a))[1]
    )
    return calls


def test_axes_of_equal_features_are_sought_once_and_are_the_same(sought):
    x = np.random.default_rng(0).standard_normal((20, 5))
    for features in (x, sp.csr_array(np.maximum(x, 0))):
        first = principal_axes(features, 0.9, True, "images")
        assert principal_axes(features.copy(), 0.9, True, "texts") is first
    assert len(sought) == 2


def test_axes_of_what_differs_in_anything_are_sought_anew(sought):
    x = np.abs(np.random.default_rng(0).standard_normal((20, 5)))
    x[:, 0] = 0
    moved = x[:, [1, 0, 2, 3, 4]]  # the same numbers, as CSR in other columns
    variants = [(x, 0.9, True), (x, 0.8, True), (x, 0.9, False), (x.astype(np.float32), 0.9, True)]
    variants += [(moved, 0.9, True), (sp.csr_array(x), 0.9, True), (sp.csr_array(moved), 0.9, True)]
    for number, (features, energy, unit_length) in enumerate(variants, 1):
        principal_axes(features, energy, unit_length, "images")
        assert len(sought) == number


def test_features_that_were_changed_in_place_are_others(sought):
    x = np.random.default_rng(0).standard_normal((20, 5))
    before = principal_axes(x, 1.0, False, "images").axes_dp
    x[0] += 10
    assert not np.allclose(principal_axes(x, 1.0, False, "images").axes_dp, before)


def test_no_more_than_a_few_are_kept(sought):
    for seed in range(2 * RECENT):
        principal_axes(np.random.default_rng(seed).standard_normal((9, 3)), 0.9, True, "images")
    assert len(module._recent) == RECENT
