"""What is made from picture files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gcnxmodal.data.picture_features import images_from, resolution_for
from gcnxmodal.errors import InputError


def test_pixels_are_the_centre_square_in_the_order_given(tmp_path: Path):
    colours = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)
    files = []
    for number, colour in enumerate(colours):
        # The colour in and a little around the centre square of a wide picture, black beside it.
        pixels = np.zeros((40, 80, 3), np.uint8)
        pixels[:, 10:70] = colour
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(files[-1])
    images = images_from(files[::-1], "pixels", 8, cache_dir=tmp_path)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.broadcast_to(colours[::-1, None, None], (3, 8, 8, 3)))


def test_a_broken_picture_is_named(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png: not a readable picture"):
        images_from([tmp_path / "broken.png"], "pixels", 8, cache_dir=tmp_path)


def test_resolution_is_the_one_asked_for_and_none_without_pictures():
    assert resolution_for("pixels", None) == 64
    assert resolution_for("efficientnet-lite0", 96) == 96
    assert resolution_for("features", None) is None
    with pytest.raises(InputError, match=r"--data\.resolution is 96"):
        resolution_for("features", 96)
