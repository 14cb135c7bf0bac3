import importlib.util
import json
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer, Vocabulary


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


CHINESE = {
    "a sentence": ("我们在图书馆学习。", ["我们", "在", "图书馆", "学习"]),
    "with numbers": ("北京2008年奥运会", ["北京", "2008", "年", "奥运会"]),
    "with English": ("Python语言, don't", ["python", "语言", "don't"]),
    "English alone": ("well-known snake_case", ["well", "known", "snake", "case"]),
    "kana": ("東京タワー", ["東京", "タワー"]),
    "full width": ("\uff21\uff22\uff23中国", ["abc", "中国"]),
    "nothing": ("。、", []),
}


@pytest.mark.parametrize(("text", "words"), CHINESE.values(), ids=CHINESE)
def test_segmenter_cuts_runs_of_han_characters_only(text, words):
    pytest.importorskip("rjieba", reason="the extra `chinese` is not installed")
    assert Tokenizer(segmenter="jieba")(text) == words


@given(st.text(st.sampled_from("我们在图书馆学习北京東\u3400\u9fff\U00020000\U0002a6d6"), min_size=1))
@settings(deadline=None)
def test_segmenter_loses_no_han_character(text):
    pytest.importorskip("rjieba", reason="the extra `chinese` is not installed")
    assert "".join(Tokenizer(segmenter="jieba")(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x2FFF)))
@settings(deadline=None)
def test_segmenter_leaves_text_without_han_characters_alone(text):
    pytest.importorskip("rjieba", reason="the extra `chinese` is not installed")
    # NFKC turns some signs, such as the radicals from U+2E80, into Han characters.
    if not any("\u3400" <= character <= "\u9fff" for character in unicodedata.normalize("NFKC", text)):
        assert Tokenizer(segmenter="jieba")(text) == Tokenizer()(text)


def test_segmenter_prints_nothing_and_leaves_no_file(tmp_path):
    pytest.importorskip("rjieba", reason="the extra `chinese` is not installed")
    code = "from gcnxmodal.text.vocabulary import Tokenizer; Tokenizer(segmenter='jieba')('我们在图书馆学习')"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert not list(tmp_path.iterdir())


def test_segmenter_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package rjieba; pip install 'gcnxmodal\[chinese\]'"):
        Tokenizer(segmenter="jieba")


def test_unknown_segmenter_lists_the_known():
    with pytest.raises(InputError, match="segmenter is 'pkuseg'; choose one of none, auto, jieba, ngrams"):
        Tokenizer(segmenter="pkuseg")


def test_segmenter_is_saved_with_the_vocabulary():
    pytest.importorskip("rjieba", reason="the extra `chinese` is not installed")
    vocabulary = Vocabulary.fit(["我们在图书馆学习"], 9, Tokenizer(segmenter="jieba"))
    restored = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert restored == vocabulary
    assert restored.counts(["在图书馆"]).sum() == 2


def test_vocabulary_saved_before_there_was_a_segmenter_is_read():
    saved = {"words": ["a"], "tokenizer": {"lower_case": True, "stop_words": False, "lemmatise": False}}
    assert Vocabulary.from_dict(saved) == Vocabulary(("a",), Tokenizer())
