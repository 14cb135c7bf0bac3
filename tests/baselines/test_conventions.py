"""Every method is an estimator by the conventions of scikit-learn, as far as these hold for two views."""

import doctest
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks
from two_views import two_views

from gcnxmodal import baselines
from gcnxmodal.baselines import HASHING_METHODS, METHODS, base
from gcnxmodal.errors import InputError

ALL = {**METHODS, **HASHING_METHODS}
SHORT = {
    "mmnn": {"steps": 20, "batch": 16},
    "dspe": {"steps": 20, "batch": 16},
    "cmfh": {"iterations": 20},
    "stmh": {"iterations": 10},
    "seph": {"iterations": 10, "anchors": 20},
    "dcmh": {"epochs": 2, "batch": 32, "hidden": 16},
}
CHECKS = (
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_mixin_order",
)


def short(name):
    return ALL[name](**SHORT.get(name, {}))


@pytest.fixture(scope="module")
def fitted():
    """Every method, fitted once on the same items."""
    images, texts, labels = two_views(items=60)
    return {name: short(name).fit(images, texts, labels) for name in ALL}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ALL)
def test_scikit_learns_checks_of_parameters_pass(name, check):
    getattr(estimator_checks, check)(name, ALL[name]())


@pytest.mark.parametrize("name", ALL)
def test_fitting_changes_no_parameter_and_a_clone_is_not_fitted(name, fitted):
    assert fitted[name].get_params() == short(name).get_params()
    copy = clone(fitted[name])
    assert copy.get_params() == fitted[name].get_params()
    with pytest.raises(NotFittedError):
        copy.encode_images(two_views(items=60)[0])


@pytest.mark.parametrize("name", ALL)
def test_what_is_learnt_has_a_name_that_says_so(name, fitted):
    learnt = vars(fitted[name]).keys() - fitted[name].get_params().keys()
    assert all(attribute.startswith("_") or attribute.endswith("_") for attribute in learnt)


@pytest.mark.parametrize("name", ALL)
def test_an_unfitted_method_says_that_it_is_not_fitted(name):
    images, texts, _ = two_views(items=10)
    for encode in {"encode", "project", "posteriors"} & set(dir(ALL[name])):
        for features, side in ((images, "images"), (texts, "texts")):
            with pytest.raises(NotFittedError, match="is not fitted yet"):
                getattr(ALL[name](), encode)(features, side)
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        ALL[name]().transform(images, texts)


@pytest.mark.parametrize("name", ALL)
def test_another_width_than_fitted_is_refused_with_both(name, fitted):
    images, texts, _ = two_views(items=60)
    method = fitted[name]
    assert (method.n_features_in_, method.n_words_in_) == (8, 15)
    title = type(method).__name__
    message = rf"images: features are \[60, 7\], but {title} was fitted on 8 columns"
    with pytest.raises(InputError, match=message):
        method.encode_images(images[:, 1:])
    with pytest.raises(InputError, match=rf"texts: features are \[60, 16\], but {title} was fitted on 15"):
        method.encode_texts(sp.csr_array(sp.hstack([texts, texts[:, :1]])))
    with pytest.raises(InputError, match=r"images: features are \[8\]"):
        method.encode_images(images[0])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_features_that_are_not_finite_have_no_embedding(name, fitted, broken):
    images, texts, _ = two_views(items=60)
    images[3, 2] = broken
    texts = texts.astype(np.float64)
    texts.data[5] = broken
    with pytest.raises(InputError, match="images: a feature is NaN or infinite; extract"):
        fitted[name].encode_images(images)
    with pytest.raises(InputError, match="texts: a feature is NaN or infinite; extract"):
        fitted[name].encode_texts(texts)


@pytest.mark.parametrize("name", ALL)
def test_transform_is_both_encoders(name, fitted):
    images, texts, _ = two_views(items=60)
    found = fitted[name].transform(images[:7], texts[7:20])
    for embeddings, rows in zip(found, (7, 13), strict=True):
        assert embeddings.shape[0] == rows
        assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(found[0], fitted[name].encode_images(images[:7]))
    np.testing.assert_array_equal(found[1], fitted[name].encode_texts(texts[7:20]))


@pytest.mark.parametrize("make", [sp.csc_array, sp.coo_array, sp.csr_matrix])
@pytest.mark.parametrize("name", ["cca", "sm", "jfssl", "scm-seq", "mmnn"])
def test_lists_and_every_sparse_format_are_taken(name, make, fitted):
    images, texts, labels = two_views(items=60)
    found = short(name).fit(images.tolist(), make(texts), labels).transform(images.tolist(), make(texts))
    for embeddings, same in zip(found, fitted[name].transform(images, texts), strict=True):
        np.testing.assert_allclose(embeddings, same, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_class_numbers_and_names_are_labels_too(name, fitted):
    images, texts, labels = two_views(items=60)
    class_n = labels.argmax(axis=1)
    expected = fitted[name].transform(images, texts)
    assert fitted[name].classes_.tolist() == [0, 1, 2]
    for given in (10 * class_n, np.array(["ant", "bee", "cat"])[class_n], labels.astype(float)):
        method = short(name).fit(images, texts, given)
        for embeddings, same in zip(method.transform(images, texts), expected, strict=True):
            np.testing.assert_array_equal(embeddings, same)
        assert method.classes_.tolist() == (np.unique(given).tolist() if given.ndim == 1 else [0, 1, 2])


@pytest.mark.parametrize("labels", [np.full((40, 3), 2), np.linspace(0, 1, 40), np.zeros((40, 3, 1))])
def test_labels_that_say_no_class_are_refused(labels):
    images, texts, _ = two_views(items=40)
    with pytest.raises(InputError, match=r"labels: \w+ \[40.*; the baselines take \[n\] .* or \[n, C\]"):
        baselines.CCA().fit(images, texts, labels)


@pytest.mark.parametrize("name", ALL)
def test_a_value_that_a_parameter_does_not_take_is_refused_by_its_name(name):
    data = two_views(items=20)
    for parameter in ALL[name]().get_params():
        for value in (-3, "many", object(), float("nan")):
            method = ALL[name]().set_params(**{parameter: value})
            message = rf"^{type(method).__name__}: {parameter} is .*; it must be "
            with pytest.raises(InputError, match=message):
                method.fit(*data)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (baselines.CCA(-3), "CCA: components is -3; it must be a whole number, 1 or more, or None"),
        (baselines.CCA(ridge=-5), "CCA: ridge is -5; it must be a finite number, 0 or more"),
        (baselines.PLS(energy=1.5), "energy is 1.5; it must be a finite number, above 0 and at most 1"),
        (baselines.GMLDA(align="both"), "align is 'both'; it must be 'pairs' or 'classes'"),
        (baselines.PLS(unit_length=1), "unit_length is 1; it must be True or False"),
        (baselines.MMNN(widths=(8, 0)), r"widths is \(8, 0\); it must be a tuple, each a whole number, 1"),
        (baselines.MMNN(widths=()), r"widths is \(\); it must be a tuple"),
        (baselines.DSPE(random_state=-1), "random_state is -1; it must be a whole number, 0 or more"),
        (baselines.CMFH(True), "bits is True; it must be a whole number, 1 or more"),
    ],
)
def test_a_refusal_says_what_the_parameter_may_be(method, message):
    with pytest.raises(InputError, match=message):
        method.fit(*two_views(items=20))


def test_every_method_is_exported_by_its_own_name():
    assert {method.__name__ for method in ALL.values()} <= set(baselines.__all__)
    for name in baselines.__all__:
        assert name in dir(baselines)
        assert getattr(baselines, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'KCCA'"):
        _ = baselines.KCCA


def test_a_linear_method_does_not_load_jax():
    code = "import sys; from gcnxmodal import baselines; baselines.CCA(); sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_worked_examples_hold():
    failed, tried = doctest.testmod(base)
    assert tried > 0
    assert failed == 0
