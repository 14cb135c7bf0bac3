"""A small data set in the generic folder layout, for tests that train."""

import json
from pathlib import Path

import numpy as np

WORDS = [f"word{i:02d}" for i in range(40)]


def write_folder(root: Path, items: int = 90, classes: int = 3, seed: int = 0) -> Path:
    """A data set in the generic folder layout whose classes can be told apart in both modalities."""
    random = np.random.default_rng(seed)
    labels = np.arange(items) % classes
    share = len(WORDS) // classes
    root.mkdir(parents=True, exist_ok=True)
    with (root / "metadata.jsonl").open("w") as file:
        for i, label in enumerate(labels):
            own = random.choice(WORDS[label * share : (label + 1) * share], 8)
            noise = random.choice(WORDS, 4)
            split = "test" if i >= items * 2 // 3 else "train"
            row = {"text": " ".join([*own, *noise]), "label": f"class{label}", "split": split}
            file.write(json.dumps(row) + "\n")
    centres = random.standard_normal((classes, 12))
    images = centres[labels] + 0.5 * random.standard_normal((items, 12))
    np.savez(root / "features.npz", images=images.astype(np.float32))
    return root
