"""Languages that put no blanks between words: recognised when the vocabulary is fitted, and asked alike."""

import importlib.util

import numpy as np
import pytest

from gcnxmodal.errors import InputError
from gcnxmodal.inputs import TextReader
from gcnxmodal.text.vocabulary import Tokenizer, Vocabulary

AUTO = Tokenizer(segmenter="auto")
CHINESE = ["我们在北京的图书馆学习人工智能", "一只黑色的小猫坐在红色的沙发上", "他们喜欢在公园里散步"]
JAPANESE = [
    "黒い猫がソファーの上で寝ています",
    "東京タワーから見える夜景はきれいです",
    "わたしは毎朝パンを食べます",
]
THAI = ["แมวสีดำนอนอยู่บนโซฟาสีแดง", "ฉันชอบกินข้าวผัดกับไข่ดาวทุกเช้า"]
LAO = ["ແມວສີດຳນອນຢູ່ເທິງໂຊຟາ"]
KHMER = ["ឆ្មាខ្មៅកំពុងដេកលើសាឡុង"]
BURMESE = ["ကြောင်နက်တစ်ကောင်ဆိုဖာပေါ်မှာအိပ်နေသည်"]


def segmenter_of(texts: list[str]) -> str:
    return AUTO.for_texts(texts).segmenter


@pytest.mark.parametrize("texts", [JAPANESE, THAI, LAO, KHMER, BURMESE])
def test_other_scripts_without_blanks_are_cut_into_neighbouring_letters(texts):
    assert segmenter_of(texts) == "ngrams"


@pytest.mark.parametrize(
    "texts",
    [
        ["a black cat on a red sofa", "Ein Haus am See"],
        ["черная кошка на красном диване", "قطة سوداء", "काली बिल्ली सोफे पर"],
        ["검은 고양이가 소파에 있다"],
        ["我们 在 北京 的 图书馆 学习", "黒い 猫 が 寝て います"],  # cut already
        ["แมว สี ดำ นอน อยู่ บน โซฟา สี แดง"],
        ["a photo of 北京图书馆的大门 taken in the early morning of a day in May"],
        ["", "123 !?"],
        [],
    ],
)
def test_texts_with_blanks_are_left_alone(texts):
    assert segmenter_of(texts) == "none"


def test_chinese_is_cut_by_jieba_and_without_it_the_package_is_named(monkeypatch):
    pytest.importorskip("rjieba", reason="the extra `chinese` is not installed")
    assert segmenter_of(CHINESE) == segmenter_of([*CHINESE, "我の"]) == "jieba"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'gcnxmodal\[chinese\]' .* or --text.segmenter ngrams"):
        AUTO.for_texts(CHINESE)


def test_a_vocabulary_keeps_the_segmenter_that_was_chosen():
    vocabulary = Vocabulary.fit(THAI, 50, AUTO)
    assert vocabulary.tokenizer == Tokenizer(segmenter="ngrams")
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary
    assert Vocabulary.fit(["a cat"], 9, AUTO) == Vocabulary.fit(["a cat"], 9, Tokenizer())


def test_neighbouring_letters_keep_their_marks_and_other_words_stay():
    words = Tokenizer(segmenter="ngrams")
    assert words("iPhone สวัสดี 15") == ["iphone", "สวั", "สวัส", "วัส", "วัสดี", "สดี", "15"]
    assert words("黒猫。") == ["黒", "黒猫", "猫"]
    assert words("カ and ねこ") == ["カ", "and", "ねこ"]


def test_a_part_of_a_text_asks_for_it():
    vocabulary = Vocabulary.fit(JAPANESE, 500, AUTO)
    asked = vocabulary.counts(["東京タワー", "猫", "パンを食べ"]).toarray() > 0
    texts = vocabulary.counts(JAPANESE).toarray() > 0
    overlap = asked.astype(int) @ texts.T.astype(int)
    assert overlap.argmax(axis=1).tolist() == [1, 0, 2]


def test_words_are_found_inside_a_query_that_nobody_has_cut():
    cut = ["我们 在 北京 图书馆 学习", "北京 大学 图书"]
    vocabulary = Vocabulary.fit(cut, 50, AUTO)
    reader = TextReader(vocabulary, "counts", None, length=9, width=1)

    def words_of(text: str) -> list[str]:
        row = reader.read([text]).rows.toarray()[0]
        return sorted(vocabulary.words[number] for number in np.flatnonzero(row))

    assert words_of("我们在北京图书馆学习") == sorted(["我们", "在", "北京", "图书馆", "学习"])
    assert words_of("红北京大学的图书") == sorted(["北京", "大学", "图书"])
    assert words_of("北京 红大学") == ["北京"]  # a word is known as it is
    assert not reader.read(["红色"]).known.any()
    english = Vocabulary.fit(["cat art"], 9, Tokenizer())
    assert not TextReader(english, "counts", None, length=9, width=1).read(["cartart"]).known.any()
