"""Small data with two views of the same items."""

import numpy as np
import scipy.sparse as sp


def two_views(items: int = 120, classes: int = 3, image_d: int = 8, words: int = 15, seed: int = 0):
    """Images, texts (CSR counts) and one label an item; both views depend on the class and on the item."""
    random = np.random.default_rng(seed)
    labels = np.eye(classes, dtype=bool)[np.arange(items) % classes]
    item = random.standard_normal((items, 2))
    images = labels @ random.standard_normal((classes, image_d)) * 2 + item @ random.standard_normal(
        (2, image_d)
    )
    images += 0.5 * random.standard_normal((items, image_d))
    rates = np.exp(
        labels @ random.standard_normal((classes, words)) + item @ random.standard_normal((2, words)) / 3
    )
    texts = sp.csr_array(random.poisson(rates).astype(np.float32))
    return images.astype(np.float32), texts, labels
