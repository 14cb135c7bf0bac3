import struct
import zlib

import numpy as np
import pytest
from picture_files import noise
from PIL import Image

from gcnxmodal.data.pictures import centre_square, imagenet_crop, open_picture, rasterise
from gcnxmodal.errors import InputError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(tmp_path, mode):
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (16, 0, 32, 32))
    path = tmp_path / "picture.png"
    if mode == "P":
        image.convert("L").point(lambda _: 7).convert("P").save(path, transparency=7)
        assert (centre_square(path, 32) == 255).all()
        return
    image.convert(mode).save(path)
    pixels = centre_square(path, 32)
    assert (pixels[:, :16] == 255).all()
    assert (pixels[:, 16:] == 0).all()


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (32, 32), (0, 0, 0, 128)).save(tmp_path / "picture.png")
    assert (centre_square(tmp_path / "picture.png", 32) == 127).all()


def test_picture_is_turned_upright(tmp_path):
    image = Image.new("RGB", (32, 32), RED)
    image.paste(BLUE, (0, 16, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise: the stored top is the right
    image.save(tmp_path / "picture.png", exif=exif)
    pixels = centre_square(tmp_path / "picture.png", 32)
    assert (pixels[:, 16:] == RED).all()
    assert (pixels[:, :16] == BLUE).all()


@pytest.mark.parametrize("size", [(96, 32), (32, 96)], ids=["wide", "tall"])
def test_the_centre_square_is_kept(tmp_path, size):
    image = Image.new("RGB", size, RED)
    left, top = (size[0] - 32) // 2, (size[1] - 32) // 2
    image.paste(GREEN, (left, top, left + 32, top + 32))
    image.save(tmp_path / "picture.png")
    assert (centre_square(tmp_path / "picture.png", 32) == GREEN).all()


def test_decoding_equals_scaling_the_shorter_side_and_cropping(tmp_path):
    path = noise(tmp_path / "picture.png", size=(200, 100))
    with Image.open(path) as image:
        scaled = image.resize((80, 40), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(centre_square(path, 40), np.asarray(scaled)[:, 20:60])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("16 bits.pgm", np.uint16([[0, 128 << 8], [65535, 255]])),
        ("16 bits.png", np.uint16([[0, 128 << 8], [65535, 255]])),
        ("16 bits.tiff", np.uint16([[0, 128 << 8], [65535, 255]])),
        ("whole.tiff", np.int32([[0, 128 << 8], [65535, 255]])),
        ("bytes.tiff", np.int32([[0, 128], [255, 0]])),
        ("fractions.tiff", np.float32([[0, 128 / 255], [1, 0]])),
        ("bytes as fractions.tiff", np.float32([[0, 128], [255, 0]])),
    ],
)
def test_grey_of_any_numbers_is_scaled_and_not_clipped(tmp_path, name, values):
    path = tmp_path / name
    if path.suffix == ".pgm":
        path.write_bytes(b"P5 2 2 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    assert np.asarray(open_picture(path))[..., 0].tolist() == [[0, 128], [255, 0]]


def test_a_dark_picture_of_16_bits_stays_dark(tmp_path):
    path = tmp_path / "dark.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + np.array([200, 100], ">u2").tobytes())
    assert np.asarray(open_picture(path)).max() == 0


@pytest.mark.parametrize(
    "values",
    [np.int32([[-1, 0]]), np.int32([[0, 70_000]]), np.float32([[0, 300]]), np.float32([[np.nan, 0]])],
)
def test_grey_of_an_unknown_range_is_refused(tmp_path, values):
    path = tmp_path / "grey.tiff"
    Image.fromarray(values).save(path)
    with pytest.raises(InputError, match=r"grey\.tiff: not a readable picture \(its values go from "):
        open_picture(path)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "I;16"])
def test_white_is_white_in_every_mode(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((32, 32), 0xFFFF, np.uint16))
    else:
        image = Image.new("RGB", (32, 32), WHITE).convert(mode)
    image.save(tmp_path / "picture.tiff")
    assert (centre_square(tmp_path / "picture.tiff", 32) == 255).all()


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((32, 32), 0x40FF, np.uint16)).save(tmp_path / "picture.png")
    assert (centre_square(tmp_path / "picture.png", 32) == 0x40).all()


@pytest.mark.parametrize("size", [(400, 300), (300, 451), (100, 80), (256, 256)])
def test_imagenet_crop_equals_scaling_to_256_and_cropping_224_as_torchvision_does(tmp_path, size):
    path = noise(tmp_path / "picture.png", size=size)
    width, height = size
    scaled = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    with Image.open(path) as image:
        pixels = np.asarray(image.resize(scaled, Image.Resampling.BILINEAR))
    top, left = round((scaled[1] - 224) / 2.0), round((scaled[0] - 224) / 2.0)
    expected = pixels[top : top + 224, left : left + 224]
    np.testing.assert_array_equal(imagenet_crop(path, 224), expected, strict=True)


def png_of(path, width: int, height: int):
    """A PNG of a few bytes that promises so many pixels, and has them, all of them black."""
    rows = zlib.compress(bytes((1 + -(-width // 8)) * height))
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), b"IDAT": rows, b"IEND": b""}
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, of in chunks.items():
            checksum = struct.pack(">I", zlib.crc32(name + of))
            file.write(struct.pack(">I", len(of)) + name + of + checksum)
    return path


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((13_000, 13_000), "is 13,000 x 13,000, more than 80 million pixels; make it smaller"),
        ((20_000, 20_000), "has more than 80 million pixels; make it smaller"),
        ((8_000, 1), "is 8,000 x 1, more than 100 times longer than wide; crop it"),
        ((7, 8_000), "is 7 x 8,000, more than 100 times longer than wide; crop it"),
    ],
)
def test_pictures_beyond_the_limits_are_refused_before_they_are_decoded(tmp_path, size, message):
    path = png_of(tmp_path / "bomb.png", *size)
    for read in (centre_square, imagenet_crop):
        with pytest.raises(InputError, match=rf"bomb\.png: {message}"):
            read(path, 224)


def test_a_picture_at_the_limit_of_shapes_is_cropped(tmp_path):
    assert imagenet_crop(png_of(tmp_path / "long.png", 700, 7), 32).shape == (32, 32, 3)


@pytest.mark.parametrize(
    "content", ["<a>" * 100_000, "<svg>" * 300 + "</svg>" * 300, "[" * 100, ""], ids=range(4)
)
def test_a_drawing_that_would_end_the_process_is_refused(tmp_path, content):
    (tmp_path / "deep.svg").write_text(content)
    with pytest.raises(InputError, match=r"deep\.svg: (has more than 200 elements|cannot be drawn)"):
        rasterise([tmp_path / "deep.svg"], 16, tmp_path, progress=False)


def test_svg_pictures_are_drawn_over_white_at_their_own_shape(tmp_path):
    shape = "<path d='M10 0h5v10h-5z' fill='#f00'/>"
    drawing = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 30 10'>{shape}</svg>"
    (tmp_path / "picture.SVG").write_text(drawing)
    assert open_picture(tmp_path / "picture.SVG").size == (512, 171)
    pixels = centre_square(tmp_path / "picture.SVG", 32)
    assert (pixels[:, 2:14] == RED).all()
    assert (pixels[:, 18:] == WHITE).all()
    (tmp_path / "broken.svg").write_text("<svg")
    with pytest.raises(InputError, match=r"broken\.svg: (not a readable picture|cannot be drawn)"):
        open_picture(tmp_path / "broken.svg")
