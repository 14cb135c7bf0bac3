import numpy as np
import pytest

from gcnxmodal.data.loader import Items, assemble
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer

TRAIN = ["a red fish", "a blue fish", "a green tree", "a blue leaf"]
SPLITS = {"train": np.arange(4), "test": np.arange(4, 6)}
LABELS = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [0, 1]], bool)


def build(test_texts, train=TRAIN, images=lambda: np.ones((6, 2), np.float32), groups=None, words=6):
    items = Items(train + test_texts, LABELS, ["animal", "plant"], SPLITS, None, None, groups)
    return assemble(items, images, words=words, tokenizer=Tokenizer(), provenance={"source": "here"})


@pytest.mark.parametrize("mutated", [["zebra " * 50, "a a a fish"], ["", "zzz"], ["red blue", "\0 \u2603"]])
def test_test_texts_change_no_bit_of_vocabulary_and_training_counts(mutated):
    before, after = build(["a tree", "a fish"]), build(mutated)
    assert before.vocabulary == after.vocabulary
    for part in ("data", "indices", "indptr"):
        one, other = (getattr(corpus.counts[:4], part) for corpus in (before, after))
        assert one.tobytes() == other.tobytes()
    assert before.provenance["hash"]["items"] != after.provenance["hash"]["items"]
    assert before.provenance["hash"]["images"] == after.provenance["hash"]["images"]


def test_words_are_the_most_common_of_the_training_texts():
    assert build(["leaf leaf leaf", "leaf"], words=3).vocabulary.words == ("a", "blue", "fish")


def test_empty_vocabulary_names_the_source():
    with pytest.raises(InputError, match=r"^here: vocabulary: the 4 training texts hold no word; check"):
        build(["words", "here"], train=["?", "!", "...", "-"])


def test_features_are_computed_only_when_all_else_is_good():
    def forbidden():
        raise AssertionError("computed")

    with pytest.raises(InputError, match="group 0 has items in train and in test"):
        build(["a", "b"], images=forbidden, groups=["x"] * 6)
    features = np.full((6, 3), 2, np.float32)
    assert build(["a", "b"], images=lambda: features).images is features
