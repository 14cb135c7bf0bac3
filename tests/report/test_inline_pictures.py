import base64
import io

import numpy as np
import pytest
from PIL import Image

from gcnxmodal.report.page import data_uri


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.fixture
def photo():
    """A photograph's worth of detail: 1200 x 800, red on the left and blue on the right."""
    pixels = np.random.default_rng(0).integers(0, 60, (800, 1200, 3), dtype=np.uint8)
    pixels[:, :600, 0] += 180
    pixels[:, 600:, 2] += 180
    return Image.fromarray(pixels)


def test_a_photograph_becomes_a_small_jpeg_of_the_same_shape(photo, tmp_path):
    photo.save(tmp_path / "photo.jpg", quality=95)
    uri = data_uri(tmp_path / "photo.jpg")
    assert uri is not None
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 40_000
    assert decoded(uri).size == (224, 149)


def test_the_orientation_a_camera_notes_is_applied(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    photo.save(tmp_path / "turned.jpg", exif=exif)
    shown = decoded(data_uri(tmp_path / "turned.jpg"))
    assert shown.size == (149, 224)
    red, _, blue = np.asarray(shown)[20, 70].tolist()  # what was left is now on top
    assert red > 150 > blue


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_kept(mode, tmp_path):
    picture = Image.new("RGBA", (300, 300), (0, 0, 0, 0)).convert(mode)
    if mode == "P":
        picture.info["transparency"] = 0
    picture.save(tmp_path / "clear.png")
    uri = data_uri(tmp_path / "clear.png")
    assert uri is not None
    assert uri.startswith("data:image/png;base64,")
    assert np.asarray(decoded(uri))[5, 5, 3] == 0


@pytest.mark.parametrize("mode", ["L", "CMYK", "I;16"])
def test_other_colour_modes_are_shown(mode, tmp_path):
    Image.new(mode, (40, 30)).save(tmp_path / "picture.tiff")
    assert decoded(data_uri(tmp_path / "picture.tiff")).mode == "RGB"


def test_an_svg_is_embedded_as_it_is(tmp_path):
    content = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    (tmp_path / "drawing.SVG").write_bytes(content)
    uri = data_uri(tmp_path / "drawing.SVG")
    assert uri == f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(
    "content", [None, b"", b"not a picture", b"\x89PNG\r\n\x1a\n\x00\x00", b"\xff\xd8\xff"]
)
def test_a_lost_or_broken_picture_does_not_fail_the_report(content, tmp_path):
    if content is not None:
        (tmp_path / "broken.png").write_bytes(content)
    assert data_uri(tmp_path / "broken.png") is None
    assert data_uri(tmp_path / "lost.svg") is None
