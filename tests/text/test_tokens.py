import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.text.tokens import Tokenizer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat, the CAT.", ["the", "cat", "the", "cat"]),
        ("don't 'quoted' rock'n'roll", ["don't", "quoted", "rock'n'roll"]),
        ("snake_case well-known 3rd", ["snake", "case", "well", "known", "3rd"]),
        ("Ünïcode naïve Ёлка 東京", ["ünïcode", "naïve", "ёлка", "東京"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        (" \n\t—…!", []),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_digits_and_marks(text, words):
    assert Tokenizer()(text) == words


def test_ways_to_write_one_word_are_one_word():
    assert Tokenizer()("don\u2019t") == Tokenizer()("don't")
    assert Tokenizer()("cafe\u0301") == Tokenizer()("caf\u00e9")
    assert Tokenizer()("\uff21\uff22\uff23 \ufb01sh") == ["abc", "fish"]
    assert Tokenizer()("1\ufe0f\u20e3") == ["1"]


@given(st.text())
@settings(deadline=None)
def test_tokenising_the_words_again_changes_nothing(text):
    words = Tokenizer()(text)
    assert Tokenizer()(" ".join(words)) == words


def test_case_is_kept_on_request():
    assert Tokenizer(lower_case=False)("The Cat") == ["The", "Cat"]


def test_stop_words_are_dropped_in_any_case():
    assert Tokenizer(lower_case=False, stop_words=True)("The cat and THE dog") == ["cat", "dog"]


def test_lemmas_join_the_forms_of_a_word():
    pytest.importorskip("simplemma", reason="the extra `lemmas` is not installed")
    assert Tokenizer(lemmatise=True)("mice mouse running runs") == ["mouse", "mouse", "run", "run"]


def test_lemmas_without_their_package_name_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'gcnxmodal\[lemmas\]'"):
        Tokenizer(lemmatise=True)
