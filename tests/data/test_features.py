import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gcnxmodal.data import features
from gcnxmodal.data.features import decode, picture_features
from gcnxmodal.errors import InputError
from gcnxmodal.models import efficientnet

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def noise(path: Path, seed: int = 0, size: tuple[int, int] = (40, 32)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    return [noise(tmp_path / f"{seed}.png", seed) for seed in range(5)]


@pytest.fixture
def runs(monkeypatch) -> list[list[Path]]:
    """The pictures of each run of the network, which is replaced by numbering them."""
    runs = []

    def encode(pictures, resolution, batch, pool, silent):
        runs.append(list(pictures))
        return np.repeat(np.arange(len(pictures), dtype=np.float32)[:, None], 1280, axis=1) + len(runs)

    monkeypatch.setattr(features, "_encode", encode)
    return runs


def test_features_are_those_of_the_network_in_order_and_compiled_once(tmp_path, pictures, monkeypatch):
    traced = []

    def normalise(pixels):
        traced.append(pixels.shape)
        return original(pixels)

    original = efficientnet.normalise
    monkeypatch.setattr(efficientnet, "normalise", normalise)
    found = picture_features(pictures, 32, cache_dir=tmp_path / "cache", batch=2)
    assert traced == [(2, 32, 32, 3)], "five pictures, the last batch half full: one compilation"

    pixels = jnp.stack([decode(picture, 32) for picture in pictures])
    network = efficientnet.load_pretrained()
    expected = np.asarray(jax.jit(lambda pixels: network(original(pixels)))(pixels))
    assert found.shape == (5, 1280)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(tmp_path, mode):
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (16, 0, 32, 32))
    path = tmp_path / "picture.png"
    if mode == "P":
        image.convert("L").point(lambda _: 7).convert("P").save(path, transparency=7)
        assert (decode(path, 32) == 255).all()
        return
    image.convert(mode).save(path)
    pixels = decode(path, 32)
    assert (pixels[:, :16] == 255).all()
    assert (pixels[:, 16:] == 0).all()


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (32, 32), (0, 0, 0, 128)).save(tmp_path / "picture.png")
    assert (decode(tmp_path / "picture.png", 32) == 127).all()


def test_picture_is_turned_upright(tmp_path):
    image = Image.new("RGB", (32, 32), RED)
    image.paste(BLUE, (0, 16, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise: the stored top is the right
    image.save(tmp_path / "picture.png", exif=exif)
    pixels = decode(tmp_path / "picture.png", 32)
    assert (pixels[:, 16:] == RED).all()
    assert (pixels[:, :16] == BLUE).all()


@pytest.mark.parametrize("size", [(96, 32), (32, 96)], ids=["wide", "tall"])
def test_the_centre_square_is_kept(tmp_path, size):
    image = Image.new("RGB", size, RED)
    left, top = (size[0] - 32) // 2, (size[1] - 32) // 2
    image.paste(GREEN, (left, top, left + 32, top + 32))
    image.save(tmp_path / "picture.png")
    assert (decode(tmp_path / "picture.png", 32) == GREEN).all()


def test_decoding_equals_scaling_the_shorter_side_and_cropping(tmp_path):
    path = noise(tmp_path / "picture.png", size=(200, 100))
    with Image.open(path) as image:
        scaled = image.resize((80, 40), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(decode(path, 40), np.asarray(scaled)[:, 20:60])


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "I;16"])
def test_white_is_white_in_every_mode(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((32, 32), 0xFFFF, np.uint16))
    else:
        image = Image.new("RGB", (32, 32), WHITE).convert(mode)
    image.save(tmp_path / "picture.tiff")
    assert (decode(tmp_path / "picture.tiff", 32) == 255).all()


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((32, 32), 0x40FF, np.uint16)).save(tmp_path / "picture.png")
    assert (decode(tmp_path / "picture.png", 32) == 0x40).all()


@pytest.mark.parametrize("fault", ["missing", "empty", "text", "cut.png", "cut.jpg", "folder"])
def test_unreadable_picture_is_named_before_the_network_runs(tmp_path, pictures, runs, fault):
    bad = tmp_path / (fault if fault.startswith("cut") else "bad.png")
    match fault:
        case "empty":
            bad.touch()
        case "text":
            bad.write_text("<html>404</html>")
        case "folder":
            bad.mkdir()
        case "cut.png" | "cut.jpg":
            data = noise(bad).read_bytes()
            bad.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=f"{bad.name}: .*drop its row"):
        picture_features([*pictures, bad], 32, cache_dir=tmp_path / "cache")
    assert not runs


def test_second_call_reads_the_cache_wherever_the_pictures_lie(tmp_path, pictures, runs):
    first = picture_features(pictures, 32, cache_dir=tmp_path / "cache")
    moved = [picture.rename(picture.with_name(f"moved-{picture.name}")) for picture in pictures]
    np.testing.assert_array_equal(picture_features(moved, 32, cache_dir=tmp_path / "cache"), first)
    assert len(runs) == 1


@pytest.mark.parametrize("change", ["resolution", "order", "pixels", "fewer"])
def test_other_pictures_or_resolution_are_encoded_again(tmp_path, pictures, runs, change):
    picture_features(pictures, 32, cache_dir=tmp_path / "cache")
    if change == "order":
        pictures.reverse()
    elif change == "pixels":
        noise(pictures[0], seed=99)
    elif change == "fewer":
        pictures.pop()
    picture_features(pictures, 64 if change == "resolution" else 32, cache_dir=tmp_path / "cache")
    assert runs[1:] == [pictures]


def cache_file(folder: Path) -> Path:
    (path,) = (folder / "features").iterdir()
    return path


@pytest.mark.parametrize("fault", ["cut", "empty", "shape", "pickle"])
def test_damaged_cache_is_made_again_and_said(tmp_path, pictures, runs, caplog, fault):
    first = picture_features(pictures, 32, cache_dir=tmp_path)
    path = cache_file(tmp_path)
    match fault:
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "empty":
            path.write_bytes(b"")
        case "shape":
            np.save(path, first[:2])
        case "pickle":
            np.save(path, np.array([{}]), allow_pickle=True)
    second = picture_features(pictures, 32, cache_dir=tmp_path)
    np.testing.assert_array_equal(second, first + 1)
    assert "are damaged" in caplog.text
    np.testing.assert_array_equal(picture_features(pictures, 32, cache_dir=tmp_path), second)


def test_a_run_killed_while_it_saves_leaves_no_cache(tmp_path, pictures, runs, monkeypatch):
    def killed(file, array):
        file.write(array.tobytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            picture_features(pictures, 32, cache_dir=tmp_path)
    assert not list((tmp_path / "features").iterdir())
    picture_features(pictures, 32, cache_dir=tmp_path)
    assert len(runs) == 2


def test_cache_that_cannot_be_written_costs_only_a_warning(tmp_path, pictures, runs, caplog):
    (tmp_path / "cache").touch()
    with caplog.at_level(logging.WARNING):
        found = picture_features(pictures, 32, cache_dir=tmp_path / "cache")
    assert found.shape == (5, 1280)
    assert "could not be cached" in caplog.text


def test_too_small_resolution_and_no_picture_are_input_errors(tmp_path, pictures):
    with pytest.raises(InputError, match="resolution is 31 pixels"):
        picture_features(pictures, 31, cache_dir=tmp_path)
    with pytest.raises(InputError, match="there is none to encode"):
        picture_features([], 32, cache_dir=tmp_path)
