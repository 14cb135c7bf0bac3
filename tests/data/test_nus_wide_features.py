"""Features of one's own for the photos of NUS-WIDE."""

import functools

import numpy as np
import pytest
from nus_wide_folder import BAG, PHOTOS, bag, load_nus_wide, write_nus_wide

from gcnxmodal.errors import InputError

KEPT = [0, 1, 2, 5, 8, 10]  # the photos of one of the two classes with a tag


@pytest.fixture
def root(tmp_path):
    return write_nus_wide(tmp_path / "nus-wide")


@pytest.fixture
def load(root):
    return functools.partial(load_nus_wide, root, image_feature="features")


@pytest.fixture
def own():
    """Features that say which photo they are of."""
    return np.array([[row, row / 8, -row] for row in range(len(PHOTOS))], np.float32)


def test_row_a_line_of_the_list_of_all_photos(load, root, own):
    np.savez(root / "features.npz", images=own)
    (root / BAG).unlink()
    corpus = load()
    np.testing.assert_array_equal(corpus.images, own[KEPT], strict=True)
    again = load(image_feature="features.npz")
    assert again.provenance["hash"] == corpus.provenance["hash"]
    assert corpus.provenance["options"]["image_feature"] == "features"


@pytest.mark.parametrize("written", ["as listed", "as folders", "bare"])
def test_row_a_name_in_any_order_and_other_photos_do_not_matter(load, root, own, written):
    names = [photo.path for photo in PHOTOS]
    if written != "as listed":
        names = [name.replace("\\", "/") for name in names]
    if written == "bare":
        names = [name.rpartition("/")[2] for name in names]
    order = [10, 8, 0, 5, 1, 2, 9]
    names = [names[row] for row in order]
    np.savez(
        root / "features.npz", images=own[[*order, 0]], file_names=np.array([*names, "mine/0001_999.jpg"])
    )
    np.testing.assert_array_equal(load().images, own[KEPT], strict=True)


def test_nus_wide_21_has_them_of_queries_and_database(root, own):
    np.savez(root.parent / "fc7.npz", images=own)
    options = {"classes": 3, "training_pairs": 4, "test_pairs": 2}
    bags = load_nus_wide(root, "nus-wide-21", **options)
    rows = [row for row in range(len(PHOTOS)) for found in bags.images if (found == bag(row)).all()]
    corpus = load_nus_wide(root, "nus-wide-21", image_feature=str(root.parent / "fc7.npz"), **options)
    np.testing.assert_array_equal(corpus.images, own[rows], strict=True)
    assert corpus.provenance["hash"]["items"] == bags.provenance["hash"]["items"]


def test_new_features_are_not_answered_from_the_cache(load, root, own):
    np.savez(root / "features.npz", images=own)
    before = load()
    np.savez(root / "features.npz", images=np.hstack([own, own]))
    assert load().images.shape == (len(before), 6)


def test_photo_that_is_not_kept_may_have_no_feature(load, root, own):
    own[3] = np.nan
    np.savez(root / "features.npz", images=own)
    np.testing.assert_array_equal(load().images, own[KEPT])
    own[8, 1] = np.nan
    np.savez(root / "features.npz", images=own)
    with pytest.raises(InputError, match=r"features\.npz: array 'images', row 8, column 1 is nan"):
        load()


def test_features_that_do_not_fit_are_refused(load, root, own):
    path = root / "features.npz"
    with pytest.raises(InputError, match=r"features\.npz: there is no such file; write it with numpy.savez"):
        load()
    np.savez(path, images=own[:-1])
    with pytest.raises(InputError, match=r"features\.npz: array 'images' has 10 rows, expected 11"):
        load()
    np.savez(path, images=own[:2], file_names=np.array(["0001_2124494179.jpg", "0002_174174086.jpg"]))
    with pytest.raises(InputError, match=r"'file_names' lacks 0001_2147483650\.jpg \(4 of 6 are missing\)"):
        load()
    with pytest.raises(InputError, match=r"--data\.resolution"):
        load(resolution=64)
