"""What holds of every hashing method."""

import numpy as np
import pytest
from hashing_data import hard_shapes
from two_views import two_views

from gcnxmodal.baselines import HASHING_METHODS, METHODS
from gcnxmodal.errors import InputError
from gcnxmodal.retrieval.evaluate import standard_map_of_codes
from gcnxmodal.retrieval.hamming import pack_codes

SHORT = {
    "cmfh": {"iterations": 50},
    "stmh": {"iterations": 20},
    "seph": {"iterations": 40, "anchors": 60},
    "dcmh": {"epochs": 20, "batch": 32, "hidden": 64, "learning_rate": 3e-3},
}
LEAST = {"cmfh": 0.5, "scm-orth": 0.6, "scm-seq": 0.7, "stmh": 0.45, "seph": 0.8, "dcmh": 0.8}


def fitted(name, data, bits=8, **values):
    return HASHING_METHODS[name](bits, **SHORT.get(name, {}), **values).fit(*data)


def test_names_are_those_of_no_other_method():
    assert not HASHING_METHODS.keys() & METHODS.keys()


@pytest.mark.parametrize("name", HASHING_METHODS)
def test_codes_of_images_find_texts_of_new_items(name):
    images, texts, labels = two_views(items=240)
    method = fitted(name, (images[:160], texts[:160], labels[:160]))
    codes = pack_codes(method.encode_texts(texts[160:])), pack_codes(method.encode_images(images[160:]))
    found = standard_map_of_codes(*codes, labels[160:])
    assert found["text_query"] > LEAST[name]  # chance is 1/3
    assert found["image_query"] > LEAST[name]


@pytest.mark.parametrize("name", HASHING_METHODS)
def test_the_same_seed_gives_the_same_bits(name):
    images, texts, labels = two_views()
    first, again = (fitted(name, (images, texts, labels)) for _ in range(2))
    np.testing.assert_array_equal(first.encode_images(images), again.encode_images(images))
    np.testing.assert_array_equal(first.encode_texts(texts), again.encode_texts(texts))


@pytest.mark.parametrize("name", HASHING_METHODS)
@pytest.mark.parametrize(("labelled", "bits"), [("one", 40), ("several", 2)])
def test_hard_shapes_are_fitted(name, labelled, bits):
    images, texts, labels = hard_shapes(labelled)
    method = fitted(name, (images, texts, labels), bits)
    for codes in (method.encode_images(images), method.encode_texts(texts)):
        assert codes.shape == (31, bits)
        assert codes.dtype == np.float32
        assert np.isfinite(codes).all()
    assert len(np.unique(method.encode_images(images) > 0, axis=0)) > 1


@pytest.mark.parametrize("name", HASHING_METHODS)
def test_one_bit_tells_items_apart_or_is_refused(name):
    images, texts, labels = two_views()
    if name == "stmh":
        with pytest.raises(InputError, match="STMH: bits is 1; it must be a whole number, 2 or more"):
            fitted(name, (images, texts, labels), bits=1)
        return
    codes = fitted(name, (images, texts, labels), bits=1).encode_images(images) > 0
    assert 0.05 < codes.mean() < 0.95


@pytest.mark.parametrize("name", ["cmfh", "scm-orth", "scm-seq", "stmh"])
def test_axes_are_at_most_those_asked_for_or_as_many_as_the_energy_takes(name):
    random = np.random.default_rng(0)
    images, texts = random.standard_normal((300, 200)), random.standard_normal((300, 5))
    labels = np.eye(3, dtype=bool)[np.arange(300) % 3]
    counts = {}
    for axes in (7, 128, None):
        method = fitted(name, (images, texts, labels), axes=axes)
        counts[axes] = method._axes["images"].project(images).shape[1]
    assert counts[7] == 7
    assert counts[128] == 128
    assert 128 < counts[None] < 200
    with pytest.raises(InputError, match="axes is 0; it must be a whole number, 1 or more, or None"):
        fitted(name, (images, texts, labels), axes=0)


@pytest.mark.parametrize(
    ("name", "option", "value", "range_"),
    [
        ("cmfh", "mu", 0.0, "a finite number, above 0"),
        ("cmfh", "gamma", float("nan"), "a finite number, above 0"),
        ("cmfh", "image_weight", 1, "a finite number, above 0 and below 1"),
        ("cmfh", "iterations", 0, "a whole number, 1 or more"),
        ("scm-orth", "ridge", -1e-3, "a finite number, 0 or more"),
        ("scm-seq", "ridge", float("inf"), "a finite number, 0 or more"),
        ("stmh", "image_weight", 0, "a finite number, above 0 and below 1"),
        ("stmh", "lam", 0, "a finite number, above 0"),
        ("stmh", "gamma", 0, "a finite number, above 0"),
        ("stmh", "iterations", 0, "a whole number, 1 or more"),
        ("seph", "alpha", -0.1, "a finite number, 0 or more"),
        ("seph", "anchors", 0, "a whole number, 1 or more"),
        ("seph", "regularisation", 0, "a finite number, above 0"),
        ("seph", "iterations", 0, "a whole number, 1 or more"),
        ("dcmh", "hidden", 0, "a whole number, 1 or more"),
        ("dcmh", "batch", 0, "a whole number, 1 or more"),
        ("dcmh", "epochs", 0, "a whole number, 1 or more"),
        ("dcmh", "eta", -1, "a finite number, 0 or more"),
        ("dcmh", "learning_rate", 0, "a finite number, above 0"),
    ],
)
def test_options_out_of_range_are_refused_by_name(name, option, value, range_):
    message = f": {option} is {value}; it must be {range_}$"
    with pytest.raises(InputError, match=message):
        HASHING_METHODS[name](4, **{option: value}).fit(*two_views())


@pytest.mark.parametrize("name", HASHING_METHODS)
def test_values_to_try_are_arguments_and_the_default_is_among_them(name):
    method = HASHING_METHODS[name](8)
    for argument, values in method.space.items():
        assert method.get_params()[argument] in values
