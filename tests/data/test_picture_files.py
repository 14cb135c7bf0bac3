import numpy as np
import pytest
from picture_files import noise
from PIL import Image

from gcnxmodal.data.pictures import centre_square, imagenet_crop, open_picture
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


def test_svg_pictures_are_drawn_over_white_at_their_own_shape(tmp_path):
    shape = "<path d='M10 0h5v10h-5z' fill='#f00'/>"
    drawing = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 30 10'>{shape}</svg>"
    (tmp_path / "picture.SVG").write_text(drawing)
    assert open_picture(tmp_path / "picture.SVG").size == (512, 171)
    pixels = centre_square(tmp_path / "picture.SVG", 32)
    assert (pixels[:, 2:14] == RED).all()
    assert (pixels[:, 18:] == WHITE).all()
    (tmp_path / "broken.svg").write_text("<svg")
    with pytest.raises(InputError, match=r"broken\.svg: not a readable picture .*; replace the file"):
        open_picture(tmp_path / "broken.svg")


def test_a_picture_of_more_pixels_than_are_read_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    Image.new("1", (32, 32)).save(tmp_path / "large.png")
    with pytest.raises(InputError, match=r"large\.png: has more than 1,000 pixels, .*; make it smaller, or"):
        open_picture(tmp_path / "large.png")
