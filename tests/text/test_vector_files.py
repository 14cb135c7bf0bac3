import gzip
import lzma

import numpy as np
import pytest
from gensim.models import KeyedVectors

from gcnxmodal.errors import InputError
from gcnxmodal.text.vectors import load_vectors

WORDS = ["the", "naïve", "東京", "don't", "cat"]
D = 6


@pytest.fixture
def saved():
    """Vectors with values of every size, as a file would have them."""
    values = np.random.default_rng(0).standard_normal((len(WORDS), D)) * np.logspace(-8, 8, D)
    vectors = KeyedVectors(D)
    vectors.add_vectors(WORDS, values.astype(np.float32))
    return vectors


def write(path, vectors, form):
    if form == "binary with line feeds":  # as the original C tool writes
        with path.open("wb") as file:
            file.write(b"%d %d\n" % vectors.vectors.shape)
            for word in vectors.index_to_key:
                file.write(word.encode() + b" " + vectors[word].astype("<f4").tobytes() + b"\n")
    else:
        header = form != "glove"
        vectors.save_word2vec_format(str(path), binary=form == "binary", write_header=header)


FORMS = ["text", "binary", "binary with line feeds", "glove"]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # gensim leaves the file open
@pytest.mark.parametrize("form", FORMS)
def test_each_format_reads_as_gensim_reads_it(saved, tmp_path, form):
    path = tmp_path / "vectors"
    write(path, saved, form)
    theirs = KeyedVectors.load_word2vec_format(
        str(path), binary=form.startswith("binary"), no_header=form == "glove"
    )
    ours = load_vectors(path, WORDS)
    assert ours.index_to_key == theirs.index_to_key
    assert ours.vectors.dtype == np.float32
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)


@pytest.mark.parametrize("form", FORMS)
def test_only_wanted_words_are_kept_in_the_order_asked(saved, tmp_path, form):
    path = tmp_path / "vectors"
    write(path, saved, form)
    kept = load_vectors(path, ["cat", "absent", "naïve"])
    assert kept.index_to_key == ["cat", "naïve"]
    np.testing.assert_array_equal(kept.vectors, saved.vectors[[4, 1]])


@pytest.mark.parametrize("form", FORMS)
def test_a_byte_order_mark_is_no_part_of_the_first_word(saved, tmp_path, form):
    path = tmp_path / "vectors"
    write(path, saved, form)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    read = load_vectors(path, WORDS)
    assert read.index_to_key == WORDS
    np.testing.assert_array_equal(read.vectors, saved.vectors)


@pytest.mark.parametrize(("name", "packed"), [("gzip", gzip.compress), ("xz", lzma.compress)])
def test_a_compressed_file_is_told_to_be_one(saved, tmp_path, name, packed):
    path = tmp_path / "vectors.txt"
    write(path, saved, "text")
    path.write_bytes(packed(path.read_bytes()))
    with pytest.raises(InputError, match=rf"vectors\.txt: is compressed with {name}; unpack it"):
        load_vectors(path, WORDS)


def test_the_first_of_two_rows_for_a_word_counts(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 2\nb 3 4\na 5 6\n")
    assert load_vectors(path, ["a"])["a"].tolist() == [1, 2]


def test_glove_words_with_a_space_are_skipped(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 2\n. . . 3 4\nat name@domain.com 5 6\nb 7 8\n")
    assert load_vectors(path, ["a", "b"]).vectors.tolist() == [[1, 2], [7, 8]]


@pytest.mark.parametrize("form", ["binary", "binary with line feeds"])
def test_a_binary_file_cut_anywhere_is_refused_by_name(saved, tmp_path, form):
    path = tmp_path / "vectors.bin"
    write(path, saved, form)
    whole = path.read_bytes()
    for size in range(len(whole.rstrip(b"\n"))):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"vectors\.bin: (line 1|byte \d+)"):
            load_vectors(path, WORDS)


def test_a_text_file_cut_before_its_last_value_is_refused_by_name(saved, tmp_path):
    path = tmp_path / "vectors.txt"
    write(path, saved, "text")
    whole = path.read_bytes()
    for size in range(whole.rindex(b" ") + 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"vectors\.txt: (line|byte) \d+"):
            load_vectors(path, WORDS)


def test_a_glove_file_cut_inside_a_row_is_refused_by_line(saved, tmp_path):
    """Without a header, a file that ends with a whole row is a whole file."""
    path = tmp_path / "vectors.txt"
    write(path, saved, "glove")
    whole = path.read_bytes()
    for size in range(whole.rindex(b"\ncat") + 2, whole.rindex(b" ") + 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"vectors\.txt: line 5 has \d values, expected 6"):
            load_vectors(path, WORDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1 is empty"),
        (b"\n", "line 1 is empty"),
        (b"word\n", "line 1 is neither"),
        (b"the 1 2 3\ncat 1 2\n", "line 2 has 2 values, expected 3"),
        (b"the 1 2 3\ncat 1 2 3 4\n", "line 2 has 4 values, expected 3"),
        (b"2 3\nthe 1 2 3\ncat 1 2\n", "line 3 has 2 values, expected 3"),
        (b"2 3\nthe 1 2 3\n\n", "line 3 has 0 values, expected 3"),
        (b"3 3\nthe 1 2 3\ncat 1 2 3\n", "line 1 promises 3 rows but the file has 2"),
        (b"1 3\nthe 1 2 3\ncat 1 2 3\n", "line 1 promises 1 rows but the file has 2"),
        (b"the 1 2 3\ncat 1 x 3\n", "line 2, word 'cat': .*'x'"),
        (b"the 1 2 3\ncat 1 nan 3\n", "line 2, word 'cat': a value is not finite"),
        (b"the 1 2 3\nca\xfft 1 2 3\n", "line 2 is not UTF-8"),
        (
            b"2 1\nthe \x00\x00\x80\x3fca\xfft \x00\x00\x80\x3f",
            r"byte 12 \(row 2 of 2\): the word is not UTF-8",
        ),
        (b"1 1\nthe \x00\x00\xc0\x7f", r"byte 4 \(row 1 of 1\), word 'the': a value is not finite"),
        (b"1 1\nthe \x00\x00\x80\x3fcat \x00\x00\x80\x3f", "byte 12: the file goes on after the 1 rows"),
        (b"other 1 2 3\n", "none of the 2 words is in this file"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_place(tmp_path, content, message):
    path = tmp_path / "vectors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"vectors: {message}"):
        load_vectors(path, ["the", "cat"])


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"absent\.txt: there is no such file"):
        load_vectors(tmp_path / "absent.txt", WORDS)


@pytest.mark.parametrize("start", [b"", b"2 3\n", b"2 3\ncat 1 2 3\n"], ids=["glove", "word2vec", "later"])
def test_a_line_without_end_is_refused_before_it_is_read(tmp_path, start):
    path = tmp_path / "vectors.txt"
    with path.open("wb") as file:
        file.write(start + b"dog ")
        file.truncate(2**31)
    with pytest.raises(InputError, match=r"vectors\.txt: (line \d is longer than 1,048,576|byte)"):
        load_vectors(path, ["dog"])


def test_a_header_of_5000_digits_is_no_header(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("9" * 5000 + " 3\ncat 1 2 3\n")
    with pytest.raises(InputError, match=r"vectors\.txt: line 2 has 3 values, expected 1"):
        load_vectors(path, ["cat"])
