"""Small data for the hashing methods, and what they see of it."""

import numpy as np
import scipy.sparse as sp
from two_views import two_views


def several_labels(seed: int = 0):
    """Two views with one label an item or more."""
    images, texts, labels = two_views(seed=seed)
    return images, texts, labels | (np.random.default_rng(9).random(labels.shape) < 0.2)


def views_of(method, images, texts):
    """The principal components that a fitted method learnt from."""
    return method._axes["images"].project(images), method._axes["texts"].project(texts)


def hard_shapes(labelled: str = "one"):
    """More features than items, constant columns, a wordless text, a class of one item, integer images."""
    images, texts, labels = two_views(items=31, image_d=80, words=200)
    images = np.hstack([np.round(50 + 10 * images), np.ones((31, 2))]).astype(np.uint8)
    texts = sp.csr_array(sp.hstack([texts, sp.csr_array((31, 3), dtype=np.float32)]))
    texts = sp.csr_array(sp.vstack([sp.csr_array((1, 203), dtype=np.float32), texts[1:]]))
    labels = np.hstack([labels, np.arange(31)[:, None] == 30])
    labels[30, :3] = False
    if labelled == "several":
        labels[:, 0] |= np.arange(31) < 10
        labels[5] = False
    return images, texts, labels
