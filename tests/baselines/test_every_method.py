"""What every estimator takes, and what it refuses with a sentence."""

import numpy as np
import pytest
import scipy.sparse as sp
from two_views import two_views

from gcnxmodal.baselines import HASHING_METHODS, METHODS
from gcnxmodal.baselines.two_branches import TwoBranches
from gcnxmodal.errors import InputError

SHAPES = (
    "more features than items",
    "several labels",
    "constant columns",
    "a class with one item",
    "a class without an item",
    "an item without a label",
    "whole numbers",
    "wordless text",
)


def make(name):
    """The method by default; networks with a few steps only."""
    method = {**METHODS, **HASHING_METHODS}[name]()
    return method.set_params(steps=40, batch=16) if isinstance(method, TwoBranches) else method


def training_set(shape: str):
    """Images [40, 90], texts [40, 120] (CSR) and four classes; one shape, so that networks compile once."""
    images, texts, labels = two_views(items=40, classes=4, image_d=90, words=120)
    if shape == "several labels":
        labels[::3] |= np.roll(labels[::3], 1, axis=1)
    if shape == "constant columns":
        images[:, :9] = 7
        texts = texts.toarray()
        texts[:, :9] = 1
        texts = sp.csr_array(texts)
    if shape in ("a class with one item", "a class without an item"):
        labels[:39] |= labels[:39, 3:] & (np.arange(4) == 0)
        labels[:39, 3] = False
    if shape == "a class without an item":
        labels[39] = labels[0]
    if shape == "an item without a label":
        labels[5] = False
    if shape == "whole numbers":
        images = np.round(50 + 10 * images).clip(0, 255).astype(np.uint8)
    if shape == "wordless text":
        texts = sp.csr_array(sp.vstack([sp.csr_array((1, 120), dtype=np.float32), texts[1:]]))
    return images, texts, labels


def embeddings(method, images, texts):
    return method.encode_images(images), method.encode_texts(texts)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", METHODS)
def test_out_of_the_ordinary_training_sets_are_fitted(name, shape):
    images, texts, labels = training_set(shape)
    found = embeddings(make(name).fit(images, texts, labels), images, texts)
    for z in found:
        assert z.shape == (40, found[0].shape[1])
        assert z.dtype == np.float32
        assert np.isfinite(z).all()
        assert np.ptp(z, axis=0).max() > 1e-3  # not the same for all items


@pytest.mark.parametrize("name", METHODS)
def test_single_and_double_precision_and_dense_texts_give_the_same_scores(name):
    images, texts, labels = two_views(items=40)
    words = texts.toarray()
    first = embeddings(make(name).fit(images, words, labels), images, words)
    images, words = images.astype(np.float64), words.astype(np.float64)
    second = embeddings(make(name).fit(images, words, labels), images, words)
    scores = [text @ image.T for image, text in (first, second)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-3 * np.abs(scores[1]).max())


@pytest.mark.parametrize("name", {**METHODS, **HASHING_METHODS})
def test_what_cannot_be_fitted_is_refused_with_its_reason(name):
    images, texts, labels = two_views(items=40)
    for broken in (np.nan, np.inf):
        damaged = images.copy()
        damaged[7, 3] = broken
        with pytest.raises(InputError, match="images: a training feature is NaN or infinite"):
            make(name).fit(damaged, texts, labels)
    with pytest.raises(InputError, match=r"texts: features are \[39, 15\] and there are 40 labels"):
        make(name).fit(images, texts[1:], labels)
    with pytest.raises(InputError, match="1 training items; a baseline needs at least two"):
        make(name).fit(images[:1], texts[:1], labels[:1])
    with pytest.raises(InputError, match=r"labels: float64 \[40\]; the baselines take \[n\] whole numbers"):
        make(name).fit(images, texts, np.linspace(0, 1, 40))


@pytest.mark.parametrize("size", [2.0**-66, 2.0**66], ids=["1e-20", "1e20"])
@pytest.mark.parametrize("name", {**METHODS, **HASHING_METHODS})
def test_the_size_of_the_features_does_not_matter(name, size):
    images, texts, labels = two_views(items=40)
    first = embeddings(make(name).fit(images, texts, labels), images, texts)
    sized = (images * np.float32(size)).astype(np.float32)
    second = embeddings(make(name).fit(sized, texts, labels), sized, texts)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
