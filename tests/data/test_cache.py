import dataclasses
import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gcnxmodal.corpus import Corpus
from gcnxmodal.data import cache
from gcnxmodal.data.loader import Items, assemble
from gcnxmodal.text.vocabulary import Tokenizer


def make() -> Corpus:
    texts = [f"word{row} word" for row in range(6)]
    splits = {"train": np.arange(4), "test": np.arange(4, 6)}
    items = Items(texts, np.ones((6, 1), bool), ["one"], splits, None, None)
    images = np.arange(12, dtype=np.float32).reshape(6, 2)
    about = {"source": "fixture"}
    return assemble(items, lambda: images, words=10, tokenizer=Tokenizer(), provenance=about)


def never() -> Corpus:
    raise AssertionError("made again")


def test_second_call_reads_what_the_first_one_made(tmp_path):
    made = cache.cached_corpus(tmp_path / "deep" / "corpus.npz", make)
    read = cache.cached_corpus(tmp_path / "deep" / "corpus.npz", never)
    np.testing.assert_array_equal(read.images, made.images, strict=True)
    assert read.provenance == made.provenance
    assert os.listdir(tmp_path / "deep") == ["corpus.npz"]


@pytest.mark.parametrize("kept", [0, 1, 10, 0.3, 0.6, 0.9, 0.99, -1])
def test_truncated_cache_is_said_and_made_again(tmp_path, caplog, kept):
    path = tmp_path / "corpus.npz"
    cache.cached_corpus(path, make)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else kept])
    with caplog.at_level(logging.WARNING):
        corpus = cache.cached_corpus(path, make)
    assert f"{path}: this cached file of a corpus is damaged" in caplog.text
    assert len(corpus) == 6
    assert path.read_bytes() == whole
    cache.cached_corpus(path, never)


def test_flipped_byte_is_never_taken_for_data(tmp_path, caplog):
    path = tmp_path / "corpus.npz"
    images = cache.cached_corpus(path, make).images
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        np.testing.assert_array_equal(cache.cached_corpus(path, make).images, images)


def test_flipped_byte_of_cached_arrays_is_said_and_made_again(tmp_path, caplog):
    path, rows = tmp_path / "key.npz", np.random.default_rng(0).standard_normal((5, 8))

    def read():
        return cache.cached_arrays(path, lambda: {"rows": rows}, {"rows": (5, 8)}, "rows")["rows"]

    read()
    whole = path.read_bytes()
    start = whole.index(rows.tobytes())
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        caplog.clear()
        np.testing.assert_array_equal(read(), rows)
        if start <= position < start + rows.nbytes:
            assert f"{path}: this cached file of rows is damaged" in caplog.text
            assert path.read_bytes() == whole


@pytest.mark.parametrize("fault", ["cut", "empty", "other shape", "other name", "pickle"])
def test_damaged_arrays_are_said_and_made_again(tmp_path, caplog, fault):
    path, asked = tmp_path / "kind" / "key.npz", []

    def make():
        asked.append(1)
        return {"rows": np.eye(3), "names": np.array(["a"])}

    def read():
        return cache.cached_arrays(path, make, {"rows": (3, 3), "names": None}, "old rows")

    for _ in range(2):
        np.testing.assert_array_equal(read()["rows"], np.eye(3), strict=True)
    assert (len(asked), caplog.text) == (1, "")
    match fault:
        case "cut":
            path.write_bytes(path.read_bytes()[:-30])
        case "empty":
            path.write_bytes(b"")
        case "other shape":
            np.savez(path, rows=np.eye(2), names=np.array(["a"]))
        case "other name":
            np.savez(path, rows=np.eye(3))
        case "pickle":
            np.savez(path, rows=np.eye(3), names=np.array([{}]))
    np.testing.assert_array_equal(read()["rows"], np.eye(3))
    assert f"{path}: this cached file of old rows is damaged" in caplog.text
    assert read()["names"].tolist() == ["a"]
    assert len(asked) == 2


def test_interrupted_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted():
        with cache.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("fault", ["a file", "folders", "full disk", "full disk at the end"])
def test_cache_that_cannot_be_written_is_said_once_and_costs_nothing(tmp_path, caplog, monkeypatch, fault):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / "cache"
    names = ("corpus.npz", "numbers.npz", "word.txt")
    monkeypatch.setattr(cache, "_unwritable", set())
    match fault:
        case "a file":
            folder.write_text("where a folder should be")
        case "folders":
            for name in names:
                (folder / name / "precious").mkdir(parents=True)
        case "full disk":
            monkeypatch.setattr(np, "savez", full)
            monkeypatch.setattr(Corpus, "save", full)
        case _:
            monkeypatch.setattr(os, "replace", full)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert len(cache.cached_corpus(folder / names[0], make)) == 6
            cache.cached_arrays(folder / names[1], lambda: {"x": np.ones(1)}, {"x": (1,)}, "numbers")
        monkeypatch.setattr(os, "replace", os.rename)  # the folder of this process has room
        for _ in range(2):
            file = cache.cached_file(folder / names[2], lambda: b"one", Path.read_bytes, "words")
            assert file.read_bytes() == b"one"
            assert not file.is_relative_to(folder)
    said = [line for line in caplog.messages if "the cache cannot be written" in line]
    assert len(said) == 1
    assert "$GCNXMODAL_CACHE" in said[0]


@pytest.mark.parametrize("fault", ["empty", "other content", "an empty folder"])
def test_a_damaged_file_of_the_cache_is_made_again(tmp_path, fault):
    path = tmp_path / "word.txt"
    match fault:
        case "empty":
            path.touch()
        case "other content":
            path.write_bytes(b"two")
        case _:
            path.mkdir()
    one = lambda path: path.read_bytes() == b"one"  # noqa: E731
    assert cache.cached_file(path, lambda: b"one", one, "words") == path
    assert path.read_bytes() == b"one"
    assert cache.cached_file(path, never, one, "words") == path


def test_a_corpus_of_pictures_that_go_with_the_process_is_not_kept(tmp_path):
    (tmp_path / "file").touch()
    picture = cache.cached_file(tmp_path / "file" / "a.png", lambda: b"png", Path.read_bytes, "a picture")
    path = tmp_path / "corpus.npz"
    cache.cached_corpus(path, lambda: dataclasses.replace(make(), pictures=(str(picture),) * 6))
    assert not path.exists()


HOMELESS = """
import pwd
def unknown(*_):
    raise KeyError
pwd.getpwuid = pwd.getpwnam = unknown
import gcnxmodal
import gensim  # whose packages ask for the home
from gcnxmodal.data.cache import cache_dir
print(cache_dir())
"""


def test_a_user_without_a_home_has_a_cache_that_cannot_be_written():
    hidden = ("HOME", "GCNXMODAL_CACHE", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    run = subprocess.run(
        [sys.executable, "-c", HOMELESS], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stdout == "/nonexistent/.cache/gcnxmodal\n"


def test_any_other_option_source_loader_or_code_has_another_path(tmp_path, monkeypatch):
    paths = [
        cache.corpus_path(tmp_path, "folder", {"words": 5}, ["a", 1]),
        cache.corpus_path(tmp_path, "folder", {"words": 6}, ["a", 1]),
        cache.corpus_path(tmp_path, "folder", {"words": 5}, ["a", 2]),
        cache.corpus_path(tmp_path, "wikipedia", {"words": 5}, ["a", 1]),
    ]
    assert paths[0] == cache.corpus_path(tmp_path, "folder", {"words": 5}, ["a", 1])
    monkeypatch.setattr(cache, "_loader_code", lambda: "changed")
    paths.append(cache.corpus_path(tmp_path, "folder", {"words": 5}, ["a", 1]))
    assert len(set(paths)) == 5


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("GCNXMODAL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache.cache_dir() == Path("/home/me/.cache/gcnxmodal")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert cache.cache_dir() == Path("/var/cache/me/gcnxmodal")
    monkeypatch.setenv("GCNXMODAL_CACHE", "~/own")
    assert cache.cache_dir() == Path("/home/me/own")
