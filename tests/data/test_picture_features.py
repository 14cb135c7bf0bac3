import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from picture_files import noise
from PIL import Image

from gcnxmodal.data import cache
from gcnxmodal.data import picture_features as features
from gcnxmodal.data.picture_features import BACKBONES, images_from, picture_features, resolution_for
from gcnxmodal.data.pictures import centre_square
from gcnxmodal.errors import InputError
from gcnxmodal.nn.picture_encoders import EfficientNetLite0


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    return [noise(tmp_path / f"{seed}.png", seed) for seed in range(5)]


@pytest.fixture
def runs(monkeypatch) -> list[list[Path]]:
    """The pictures of each run of the network, which is replaced by numbering them."""
    runs = []

    def encoder(backbone, weights_file, resolution, batch, pool):
        seen = []

        def encode(pictures):
            for picture in pictures:
                if not seen:
                    runs.append(seen)
                seen.append(picture)
                width = backbone.network.FEATURES
                yield np.full((1, width), len(seen) - 1 + len(runs), np.float32)

        return encode

    monkeypatch.setattr(features, "_encoder", encoder)
    return runs


def test_features_are_those_of_the_network_in_order_and_compiled_once(tmp_path, pictures, monkeypatch):
    traced = []

    def normalise(pixels):
        traced.append(pixels.shape)
        return original(pixels)

    original = EfficientNetLite0.normalise
    monkeypatch.setattr(EfficientNetLite0, "normalise", staticmethod(normalise))
    found = picture_features(pictures, 32, cache_dir=tmp_path / "cache", batch=2)
    assert traced == [(2, 32, 32, 3)], "five pictures, the last batch half full: one compilation"

    pixels = jnp.stack([centre_square(picture, 32) for picture in pictures])
    network = EfficientNetLite0.load_pretrained(EfficientNetLite0.weights_path())
    expected = np.asarray(jax.jit(lambda pixels: network(original(pixels)))(pixels))
    assert found.shape == (5, 1280)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


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
            np.savez(path, features=first[:2])
        case "pickle":
            np.savez(path, features=np.array([{}]))
    second = picture_features(pictures, 32, cache_dir=tmp_path)
    np.testing.assert_array_equal(second, first + 1)
    assert "is damaged" in caplog.text
    np.testing.assert_array_equal(picture_features(pictures, 32, cache_dir=tmp_path), second)


def test_a_run_killed_while_it_saves_leaves_no_cache(tmp_path, pictures, runs, monkeypatch):
    def killed(file, features):
        file.write(features.tobytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", killed)
        with pytest.raises(KeyboardInterrupt):
            picture_features(pictures, 32, cache_dir=tmp_path)
    assert not list((tmp_path / "features").iterdir())
    picture_features(pictures, 32, cache_dir=tmp_path)
    assert len(runs) == 2


def test_cache_that_cannot_be_written_costs_only_a_warning(tmp_path, pictures, runs, caplog, monkeypatch):
    (tmp_path / "cache").touch()
    monkeypatch.setattr(cache, "_unwritable", set())
    with caplog.at_level(logging.WARNING):
        found = picture_features(pictures, 32, cache_dir=tmp_path / "cache")
    assert found.shape == (5, 1280)
    assert "the cache cannot be written" in caplog.text


def test_a_stopped_run_goes_on_with_the_part_it_was_in(tmp_path, pictures, runs, monkeypatch):
    monkeypatch.setattr(features, "PART", 2)
    whole = picture_features(pictures, 32, cache_dir=tmp_path / "never stopped")
    runs.clear()
    original = features.save_arrays

    def stop_at_the_second(path, arrays):
        if cache.is_dir() and list(cache.iterdir()):
            raise KeyboardInterrupt
        original(path, arrays)

    cache = tmp_path / "cache" / "features"
    with monkeypatch.context() as patch:
        patch.setattr(features, "save_arrays", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            picture_features(pictures, 32, cache_dir=tmp_path / "cache")
    assert runs == [pictures[:4]]
    found = picture_features(pictures, 32, cache_dir=tmp_path / "cache")
    assert runs[1:] == [pictures[2:]]
    np.testing.assert_array_equal(found[:2], whole[:2])
    assert found.shape == whole.shape


def test_features_that_are_no_numbers_are_refused_and_not_kept(tmp_path, pictures, monkeypatch):
    def encoder(*_):
        return lambda files: iter([np.full((len(files), 1280), np.nan, np.float32)])

    monkeypatch.setattr(features, "_encoder", encoder)
    with pytest.raises(InputError, match=r"0\.png: its efficientnet-lite0-32 features are not finite"):
        picture_features(pictures, 32, cache_dir=tmp_path)
    assert not (tmp_path / "features").exists()


@pytest.mark.parametrize("backbone", ["vgg19", "resnet50"])
def test_networks_of_torchvision_need_a_weights_file(tmp_path, pictures, runs, backbone):
    message = rf"--weights is not set; {backbone} needs {backbone}-\w+\.pth of torchvision's"
    with pytest.raises(InputError, match=message):
        picture_features(pictures, 224, cache_dir=tmp_path, backbone=backbone)
    with pytest.raises(InputError, match=rf"none\.pth: there is no such file; name {backbone}-"):
        picture_features(
            pictures, 224, cache_dir=tmp_path, backbone=backbone, weights_file=tmp_path / "none.pth"
        )


def test_other_weights_or_another_backbone_encode_again(tmp_path, pictures, runs):
    files = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for file in files:
        file.write_text(file.name)
    for backbone, file in [("vgg19", files[0]), ("vgg19", files[1]), ("resnet50", files[0])] * 2:
        found = picture_features(pictures, 224, cache_dir=tmp_path, backbone=backbone, weights_file=file)
        assert found.shape == (5, BACKBONES[backbone].network.FEATURES)
    assert len(runs) == 3


def test_vgg19_sees_224_pixels_and_no_other_size(tmp_path, pictures):
    with pytest.raises(InputError, match="resolution is 256 pixels; vgg19 needs exactly 224"):
        picture_features(pictures, 256, cache_dir=tmp_path, backbone="vgg19")


def test_too_small_resolution_and_no_picture_are_input_errors(tmp_path, pictures):
    with pytest.raises(InputError, match="resolution is 31 pixels"):
        picture_features(pictures, 31, cache_dir=tmp_path)
    with pytest.raises(InputError, match="there is none to encode"):
        picture_features([], 32, cache_dir=tmp_path)


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
