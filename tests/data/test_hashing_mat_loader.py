import sys

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from picture_files import noise

from gcnxmodal.data import arrays
from gcnxmodal.data.arrays import mat_shapes, read_mat
from gcnxmodal.data.load import LOADERS
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer

N, SIDE = 9, 6
LABELS = (np.arange(N)[:, None] + np.arange(3)) % 3 < 2
LABELS[5] = False  # no label
TAGS = np.eye(4, dtype=bool)[np.arange(N) % 4] | np.array([True, False, False, False])
TAGS[7] = False  # no tag
KEPT = [row for row in range(N) if row not in (5, 7)]
# Not square in content: a transposed picture is another one.
PIXELS = np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE, 3), np.uint8)
FEATURES = np.arange(N * 5, dtype=np.float64).reshape(N, 5) / 7


def write_hdf5(path, **variables):
    """As MATLAB's save(..., '-v7.3') does: its header before the HDF5, and the axes in reverse."""
    h5py = pytest.importorskip("h5py", reason="the extra `matlab` is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if sp.issparse(value):
                columns = sp.csc_array(value)
                group = file.create_group(name)
                group.attrs["MATLAB_sparse"] = np.uint64(value.shape[0])
                parts = {"jc": columns.indptr, "ir": columns.indices, "data": columns.data}
                for part, of in parts.items() if columns.nnz else [("jc", columns.indptr)]:
                    group.create_dataset(part, data=of.astype(float if part == "data" else np.uint64))
            else:
                file.create_dataset(name, data=value.T)
            file[name].attrs["MATLAB_class"] = np.bytes_(value.dtype.name)
    with path.open("r+b") as stream:
        stream.write(
            b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 1 00:00:00 2018 HDF5 schema"
        )


def write_old(path, **variables):
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables)


def names():
    """A cell of texts, an item a row, as FAll is."""
    cells = np.empty((N, 1), object)
    cells[:, 0] = [f"im{row + 1}.jpg" for row in range(N)]
    return cells


@pytest.fixture
def root(tmp_path):
    """The files of a set that has one for each variable, in folders of their own."""
    root = tmp_path / "Cleared-Set"
    write_old(root / "LAll/mirflickr25k-lall.mat", LAll=LABELS.astype(np.uint8))
    write_old(root / "YAll/mirflickr25k-yall.mat", YAll=TAGS.astype(float))
    write_old(root / "FAll/mirflickr25k-fall.mat", FAll=names())
    write_old(root / "mirflickr25k-iall-vgg.mat", XAll=FEATURES)
    return root


@pytest.fixture
def load(root, tmp_path):
    def load(place=None, name="mirflickr-mat", **options):
        options = {
            "words": 20,
            "tokenizer": Tokenizer(),
            "image_feature": "features",
            "cache_dir": tmp_path / "cache",
            "queries": 2,
            "training": 4,
            **options,
        }
        return LOADERS[name](place or root, **options)

    return load


def test_items_with_a_label_and_a_tag_are_kept_in_the_order_of_the_files(load):
    corpus = load()
    assert corpus.class_names == ("label01", "label02", "label03")
    np.testing.assert_array_equal(corpus.labels, LABELS[KEPT])
    assert corpus.texts[:3] == ("tag0001", "tag0001 tag0002", "tag0001 tag0003")
    np.testing.assert_array_equal(corpus.images, FEATURES[KEPT].astype(np.float32), strict=True)
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {
        **{"train": 4, "test": 2, "retrieval": 5},
    }
    assert corpus.provenance["items"] == {"listed": 9, "with_a_label_and_a_tag": 7}
    assert corpus.pictures is None


def test_single_file_of_version_73_is_the_same(load, tmp_path):
    root = tmp_path / "dcmh"
    labels, tags = LABELS.astype(np.uint8), TAGS.astype(float)
    write_hdf5(root / "FLICKR-25K.mat", LAll=labels, YAll=tags, XAll=FEATURES)
    before, after = load(), load(root)
    assert after.texts == before.texts
    assert after.provenance["hash"] == before.provenance["hash"]


def test_axes_may_be_those_of_python_in_hdf5_too(load, tmp_path):
    root = tmp_path / "python"
    write_hdf5(root / "a.mat", LAll=LABELS.T, YAll=TAGS.T.astype(np.int16), XAll=FEATURES.T)
    assert load(root).provenance["hash"] == load().provenance["hash"]


def test_tags_may_be_sparse_and_counts(load, root):
    counts = TAGS.astype(float)
    counts[1, 1] = 2
    write_old(root / "YAll/mirflickr25k-yall.mat", YAll=sp.csc_matrix(counts))
    assert load().texts[1] == "tag0001 tag0002 tag0002"


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_old(path, IAll=PIXELS.transpose(1, 2, 3, 0)),
        lambda path: write_old(path, images=PIXELS.transpose(1, 2, 3, 0).astype(np.float32)),
        lambda path: write_hdf5(path, IAll=PIXELS.transpose(1, 2, 3, 0)),
        lambda path: write_hdf5(path, images=PIXELS.T),
        lambda path: write_hdf5(path, images=PIXELS.transpose(0, 3, 2, 1)),
    ],
    ids=["old", "old floats", "hdf5 of matlab", "hdf5 of python", "hdf5 in matlab's order"],
)
def test_pictures_are_upright_whatever_the_order_of_axes(load, root, write, monkeypatch):
    monkeypatch.setattr(arrays, "PICTURES_AT_ONCE", 4)
    write(root / "IAll/mirflickr25k-iall.mat")
    corpus = load(image_feature="pixels")
    np.testing.assert_array_equal(corpus.images, PIXELS[KEPT], strict=True)
    assert load(image_feature="pixels", resolution=SIDE).images.shape == (7, SIDE, SIDE, 3)
    with pytest.raises(
        InputError, match=r"--data\.resolution is 224, but variable '\w+' of .*; leave it out"
    ):
        load(image_feature="pixels", resolution=224)


def test_pictures_that_the_names_stand_for_are_encoded(load, root, monkeypatch):
    asked = []

    def features(pictures, resolution, *, cache_dir):
        asked.append((pictures, resolution))
        return np.ones((len(pictures), 3), np.float32)

    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", features)
    with pytest.raises(InputError, match=r"im1\.jpg: there is no such file; FAll names it; put the pictures"):
        load(image_feature="efficientnet-lite0")
    (root / "mirflickr").mkdir()
    for row in range(N):
        noise(root / f"mirflickr/im{row + 1}.jpg", row)
    chosen = [root / f"mirflickr/im{row + 1}.jpg" for row in KEPT]
    corpus = load(image_feature="efficientnet-lite0", resolution=64)
    assert asked == [(chosen, 64)]
    assert corpus.pictures == tuple(map(str, chosen))
    assert load(words=19).pictures == corpus.pictures


def test_features_may_be_a_file_of_ones_own(load, root):
    np.savez(root / "mine.npz", images=np.arange(2 * N).reshape(N, 2))
    expected = np.array([[2 * row, 2 * row + 1] for row in KEPT], np.float32)
    np.testing.assert_array_equal(load(image_feature="mine.npz").images, expected)


def test_features_with_file_names_are_found_by_those_of_fall(load, root):
    order = np.random.default_rng(0).permutation(N)
    names = np.array([f"im{row + 1}.jpg" for row in range(N)])
    np.savez(root / "mine.npz", images=order[:, None], file_names=names[order])
    assert load(image_feature="mine.npz").images[:, 0].tolist() == list(KEPT)
    (root / "FAll/mirflickr25k-fall.mat").unlink()
    with pytest.raises(InputError, match="'file_names', but nothing in the data set names the pictures"):
        load(image_feature="mine.npz")


@pytest.mark.parametrize("sparse", [True, False])
def test_arrays_of_equal_sides_are_not_turned(load, root, sparse):
    random = np.random.default_rng(0)
    tags = np.where(random.random((N, N)) < 0.4, 1.0, 0.0)
    features = random.standard_normal((N, N))
    values = {"LAll": LABELS.astype(np.uint8), "YAll": sp.csc_array(tags) if sparse else tags}
    read = []
    for write in (write_old, write_hdf5):
        for path in root.rglob("*.mat"):
            path.unlink()
        write(root / "all.mat", **values, XAll=features)
        read.append(load(words=50))
    for field in ("labels", "images"):
        np.testing.assert_array_equal(getattr(read[1], field), getattr(read[0], field))
    kept = LABELS.any(axis=1) & tags.any(axis=1)
    np.testing.assert_array_equal(read[1].images, features[kept].astype(np.float32))
    assert read[1].texts == read[0].texts


def test_a_sparse_matrix_of_hdf5_is_read_also_if_it_is_empty_and_refused_if_it_is_damaged(tmp_path):
    h5py = pytest.importorskip("h5py")
    path, sparse = tmp_path / "sparse.mat", sp.csc_array(np.array([[0.0, 2, 0, 0], [3, 0, 0, 1]]))
    write_hdf5(path, YAll=sparse, ZAll=sp.csc_array((3, 2)))
    assert mat_shapes(path) == {"YAll": (2, 4), "ZAll": (3, 2)}
    np.testing.assert_array_equal(read_mat(path, "YAll").toarray(), sparse.toarray())
    assert read_mat(path, "ZAll").nnz == 0
    with h5py.File(path, "r+") as file:
        file["YAll/ir"][0] = 7
    with pytest.raises(InputError, match=r"sparse\.mat: cannot be read as a MATLAB file"):
        read_mat(path, "YAll")


@pytest.mark.parametrize("name", ["LAll", "YAll", "XAll"])
@pytest.mark.parametrize("write", [write_old, write_hdf5])
def test_a_sparse_matrix_of_more_rows_than_memory_has_is_refused(load, tmp_path, name, write):
    values = {"LAll": LABELS.astype(float), "YAll": TAGS.astype(float), "XAll": FEATURES}
    values[name] = sp.csc_array(([1.0], ([5], [0])), shape=(2**30, N))
    write(tmp_path / "huge" / "all.mat", **values)
    with pytest.raises(InputError, match=rf"all\.mat: (sparse )?variable '{name}' would take [\d,]+ bytes"):
        load(tmp_path / "huge")


def test_second_load_is_read_from_the_cache(load, monkeypatch):
    before = load()
    monkeypatch.setattr("gcnxmodal.data.loader.assemble", None)
    assert load().provenance == before.provenance


def test_sizes_are_those_of_the_papers(load):
    assert LOADERS["mirflickr-mat"].keywords == {"queries": 2_000, "training": 10_000}
    assert LOADERS["nus-wide-21-mat"].keywords == {"queries": 2_100, "training": 10_500}


def test_missing_files_and_variables_are_named(load, root, tmp_path):
    with pytest.raises(InputError, match=r"--data\.root is not set; name the folder with the \.mat files"):
        LOADERS["mirflickr-mat"](
            None, words=1, tokenizer=Tokenizer(), image_feature="features", cache_dir=tmp_path
        )
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(InputError, match=r"other: there is no \.mat file in it .*jiangqy/DCMH-CVPR2017"):
        load(tmp_path / "other")
    with pytest.raises(
        InputError, match=r"no \.mat file in it has a variable 'IAll or images', which --data"
    ):
        load(image_feature="pixels")
    (root / "LAll/mirflickr25k-lall.mat").unlink()
    write_old(root / "labels.mat", labels=LABELS)
    with pytest.raises(
        InputError,
        match=r"no \.mat file in it has a variable 'LAll', only FAll, XAll, YAll, labels; expected",
    ):
        load()


def test_variable_of_two_files_is_refused(load, root):
    write_old(root / "mirflickr25k-lall-rand.mat", LAll=LABELS)
    with pytest.raises(InputError, match=r"lall-rand\.mat: variable 'LAll' is in .*-lall\.mat too; keep the"):
        load()


def test_hdf5_without_its_package_says_how_to_get_it(load, root, monkeypatch):
    write_hdf5(root / "FLICKR-25K.mat", images=PIXELS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"FLICKR-25K\.mat: is a MATLAB 7\.3 file, .*gcnxmodal\[matlab\]"):
        load()


def test_hdf5_of_anything_but_numbers_is_refused(load, root):
    h5py = pytest.importorskip("h5py")
    with h5py.File(root / "mirflickr25k-fall.h5", "w") as file:
        file["FAll"] = np.array([b"im1.jpg"] * N)
    (root / "FAll/mirflickr25k-fall.mat").unlink()
    (root / "mirflickr25k-fall.h5").rename(root / "fall.mat")
    with pytest.raises(InputError, match=r"fall\.mat: variable 'FAll' is no array of numbers; save it with"):
        load(image_feature="efficientnet-lite0")
    assert load(image_feature="features").pictures is None  # there it would be for the gallery only


LALL, YALL, XALL = "LAll/mirflickr25k-lall.mat", "YAll/mirflickr25k-yall.mat", "mirflickr25k-iall-vgg.mat"
BAD = {
    "labels of three axes": (
        LALL,
        {"LAll": np.ones((9, 3, 2))},
        r"'LAll' is float64 \[9, 3, 2\]; expected num",
    ),
    "labels as text": (LALL, {"LAll": "sky"}, "'LAll' is <U3"),
    "label values": (LALL, {"LAll": 2 * LABELS}, "'LAll' has the value 2; expected 0 or 1"),
    "other items": (
        YALL,
        {"YAll": np.ones((8, 4))},
        r"'YAll' is \[8, 4\] but 'LAll' is \[9, 3\]; one number",
    ),
    "sentence vectors": (YALL, {"YAll": TAGS * 0.5}, r"'YAll' has the value 0\.5; expected whole numbers"),
    "features of others": (XALL, {"XAll": FEATURES[1:]}, r"'XAll' has 8 rows, expected 9"),
    "features not finite": (XALL, {"XAll": FEATURES + np.inf}, "'XAll', row 0, column 0 is inf"),
}


@pytest.mark.parametrize(("name", "variables", "message"), BAD.values(), ids=BAD)
def test_bad_variable_is_refused_by_file_and_name(load, root, name, variables, message):
    write_old(root / name, **variables)
    with pytest.raises(InputError, match=f"^{root / name}: (variable|array) {message}"):
        load()


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (PIXELS[1:].transpose(1, 2, 3, 0), r"has the axes \[6, 6, 3, 8\] in the file; expected 9 square"),
        (PIXELS[:, 1:].transpose(1, 2, 3, 0), r"has the axes \[5, 6, 3, 9\] in the file"),
        # To version 7.2 nothing turns the axes, so whether height or width is first would be a guess.
        (PIXELS.transpose(0, 3, 2, 1), r"has the axes \[9, 3, 6, 6\] in the file"),
        (PIXELS[..., 0], r"has the axes \[9, 6, 6\] in the file"),
        (
            PIXELS.transpose(1, 2, 3, 0) - 120.5,
            "is float64 and not whole numbers from 0 to 255; the pictures",
        ),
    ],
    ids=["others", "not square", "axes", "no colours", "mean subtracted"],
)
def test_pictures_of_another_shape_are_refused(load, root, pictures, message):
    write_old(root / "iall.mat", IAll=pictures)
    with pytest.raises(InputError, match=f"iall.mat: variable 'IAll'.* {message}"):
        load(image_feature="pixels")


@pytest.mark.parametrize(("value", "message"), [("../im1.jpg", "is '../im1.jpg'"), ("", "is ''")])
def test_names_that_lead_out_of_the_folder_are_refused(load, root, value, message):
    cells = names()
    cells[2, 0] = value
    write_old(root / "FAll/mirflickr25k-fall.mat", FAll=cells)
    with pytest.raises(InputError, match=f"variable 'FAll', row 2 {message}; expected the name of a file"):
        load()


@pytest.mark.parametrize(
    "content", [b"", b"no MATLAB file at all, but some text", b"\x89HDF\r\n\x1a\nbroken"]
)
def test_broken_file_is_named(load, root, content):
    if content.startswith(b"\x89"):
        pytest.importorskip("h5py")
    (root / LALL).write_bytes(content)
    with pytest.raises(InputError, match=r"lall\.mat: cannot be read as a MATLAB file .*; fetch it again"):
        load()


def test_unknown_feature_lists_the_known(load):
    with pytest.raises(
        InputError, match=r"--data\.image-feature is 'cnn'; these files have 'features' \(XAll"
    ):
        load(image_feature="cnn")
    with pytest.raises(InputError, match=r"--data\.resolution is 64, but"):
        load(resolution=64)
