import numpy as np
import pytest
import reference.gist_numpy as reference
from picture_files import noise
from PIL import Image

from gcnxmodal.data.gist import FEATURES, gist, gist_features, grey_square
from gcnxmodal.errors import InputError


def grating(cycles_a_pixel: float, degrees: float) -> np.ndarray:
    """A wave whose frequency vector points `degrees` anticlockwise from the right, as seen."""
    y, x = np.mgrid[:256, :256]
    angle = np.deg2rad(degrees)
    phase = x * np.cos(angle) - y * np.sin(angle)
    return (128 + 100 * np.cos(2 * np.pi * cycles_a_pixel * phase)).astype(np.float32)


def test_gist_equals_the_authors_steps_in_float64():
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 256, 256)).astype(np.float32)
    pictures[1] = np.cumsum(np.cumsum(pictures[1] - pictures[1].mean(), axis=0), axis=1)  # smooth
    expected = np.stack([reference.gist(picture.astype(np.float64)) for picture in pictures])
    found = gist(pictures)
    assert found.shape == (2, FEATURES)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4 * expected.max()


@pytest.mark.parametrize("scale", [0, 1, 2, 3])
@pytest.mark.parametrize("orientation", [0, 3, 6])
def test_a_grating_answers_most_in_the_filter_of_its_scale_and_direction(scale, orientation):
    picture = grating(0.3 / 1.85**scale, 180 / 8 * orientation)
    responses = gist(picture[None]).reshape(4, 8, 16).mean(axis=2)
    assert np.unravel_index(responses.argmax(), (4, 8)) == (scale, orientation)


def test_blocks_are_numbered_down_the_columns():
    picture = np.full((256, 256), 128, np.float32)
    picture[128:192, 0:64] = np.random.default_rng(0).uniform(0, 255, (64, 64))  # third row, first column
    energy = gist(picture[None]).reshape(32, 4, 4).sum(axis=0)
    assert np.unravel_index(energy.argmax(), (4, 4)) == (0, 2)


def test_brightness_and_contrast_do_not_matter_and_one_colour_is_finite():
    picture = np.random.default_rng(0).uniform(0, 255, (256, 256)).astype(np.float32)
    found = gist(np.stack([picture, 0.2 * picture + 40, np.full_like(picture, 9)]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
    np.testing.assert_array_equal(found[2], np.zeros(FEATURES))


@pytest.mark.parametrize("size", [(512, 256), (256, 512)], ids=["wide", "tall"])
def test_the_centre_square_of_the_mean_of_the_colours_is_seen(tmp_path, size):
    image = Image.new("RGB", size, (255, 0, 0))
    left, top = (size[0] - 256) // 2, (size[1] - 256) // 2
    image.paste((30, 60, 120), (left, top, left + 256, top + 256))
    image.save(tmp_path / "picture.png")
    found = grey_square(tmp_path / "picture.png")
    np.testing.assert_allclose(found, np.full((256, 256), 70), atol=1e-4)
    assert found.dtype == np.float32


def test_features_of_files_are_in_order_whatever_the_batch_and_kept(tmp_path, monkeypatch):
    pictures = [noise(tmp_path / f"{seed}.png", seed, (300, 280)) for seed in range(3)]
    found = gist_features(pictures, cache_dir=tmp_path / "cache", batch=2)
    expected = gist(np.stack([grey_square(picture) for picture in pictures]))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    monkeypatch.setattr("gcnxmodal.data.gist.gist", lambda grey: pytest.fail("made again"))
    again = gist_features(pictures, cache_dir=tmp_path / "cache", batch=1)
    np.testing.assert_array_equal(again, found)


def test_unreadable_picture_is_named(tmp_path):
    (tmp_path / "bad.png").write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"bad\.png: not a readable picture"):
        gist_features([tmp_path / "bad.png"], cache_dir=tmp_path)
