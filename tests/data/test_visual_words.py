import doctest
import sys

import numpy as np
import pytest
from picture_files import noise
from PIL import Image

from gcnxmodal.data import visual_words
from gcnxmodal.data.visual_words import bags_of_words, fit_codebook, histogram, sift
from gcnxmodal.errors import InputError

pytest.importorskip("cv2", reason="needs the extra `descriptors`")


@pytest.fixture
def pictures(tmp_path):
    return [noise(tmp_path / f"{seed}.png", seed, (90, 80)) for seed in range(6)]


def flat(path):
    Image.new("RGB", (80, 80), "grey").save(path)
    return path


def test_histogram_counts_nearest_words_against_brute_force():
    random = np.random.default_rng(0)
    descriptors = random.uniform(0, 255, (40, 128)).astype(np.float32)
    codebook = random.uniform(0, 255, (7, 128)).astype(np.float32)
    distances = ((descriptors[:, None].astype(np.float64) - codebook) ** 2).sum(axis=2)
    expected = [(distances.argmin(axis=1) == word).mean() for word in range(7)]
    np.testing.assert_allclose(histogram(descriptors, codebook), expected, atol=1e-6)


def test_doctest():
    assert doctest.testmod(visual_words) == (0, 1)


def test_bags_sum_to_one_and_are_zero_without_key_points(tmp_path, pictures):
    codebook = fit_codebook(pictures, cache_dir=tmp_path / "cache", words=8)
    found = bags_of_words([*pictures, flat(tmp_path / "flat.png")], codebook, cache_dir=tmp_path / "cache")
    assert found.shape == (7, 8)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), [1, 1, 1, 1, 1, 1, 0], atol=1e-6)
    np.testing.assert_array_equal(found[2], histogram(sift(pictures[2]), codebook))


def test_codebook_is_a_function_of_training_pictures_and_seed_only(tmp_path, pictures):
    caches = (tmp_path / name for name in "abc")
    first = fit_codebook(pictures[:4], cache_dir=next(caches), words=8)
    noise(pictures[5], seed=99)  # no training picture
    again = fit_codebook(pictures[:4], cache_dir=next(caches), words=8)
    np.testing.assert_array_equal(again, first, strict=True)
    other = fit_codebook(pictures[:4], cache_dir=next(caches), words=8, seed=1)
    assert not np.array_equal(other, first)


def test_codebook_words_are_centres_of_descriptors(tmp_path, pictures):
    """No word lies further from every descriptor than the descriptors lie from their mean."""
    codebook = fit_codebook(pictures, cache_dir=tmp_path / "cache", words=4)
    descriptors = np.concatenate([sift(picture) for picture in pictures])
    spread = np.square(descriptors - descriptors.mean(axis=0)).sum(axis=1).mean()
    nearest = ((descriptors[:, None] - codebook) ** 2).sum(axis=2).min(axis=1).mean()
    assert nearest < spread


def test_codebook_and_bags_are_kept(tmp_path, pictures, monkeypatch):
    codebook = fit_codebook(pictures, cache_dir=tmp_path / "cache", words=8)
    bags = bags_of_words(pictures, codebook, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(visual_words, "sift", lambda _: pytest.fail("made again"))
    np.testing.assert_array_equal(fit_codebook(pictures, cache_dir=tmp_path / "cache", words=8), codebook)
    np.testing.assert_array_equal(bags_of_words(pictures, codebook, cache_dir=tmp_path / "cache"), bags)


def test_large_pictures_are_scaled_down_and_small_ones_left(tmp_path, monkeypatch):
    seen = []

    class Detector:
        def detectAndCompute(self, image, mask):  # noqa: N802
            seen.append(image.shape)
            return (), None

    monkeypatch.setattr(visual_words.require_opencv(), "SIFT_create", lambda **_: Detector())
    for size in ((1280, 640), (100, 50)):
        assert sift(noise(tmp_path / "picture.png", size=size)).shape == (0, 128)
    assert seen == [(320, 640), (50, 100)]


def test_too_few_descriptors_are_an_input_error(tmp_path):
    message = r"1 training pictures have 0 SIFT descriptors, too few for 500 visual words"
    with pytest.raises(InputError, match=message):
        fit_codebook([flat(tmp_path / "flat.png")], cache_dir=tmp_path)


def test_without_opencv_the_extra_is_named(tmp_path, pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"pip install 'gcnxmodal\[descriptors\]'"):
        fit_codebook(pictures, cache_dir=tmp_path)
