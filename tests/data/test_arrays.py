import os
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from gcnxmodal.data import arrays, files
from gcnxmodal.data.arrays import (
    array_names,
    feature_matrix,
    feature_rows,
    features_by_name,
    load_mat,
    load_npz,
    read_mat,
    read_mat_pictures,
)
from gcnxmodal.errors import InputError


class Payload:
    """Unpickling an instance writes a file: what a hostile .npz would do."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_pickled_npz_is_refused_and_never_executed(tmp_path):
    file, target = tmp_path / "features.npz", tmp_path / "executed"
    np.savez(file, images=np.array([Payload(target)], dtype=object))
    with pytest.raises(
        InputError, match=r"features\.npz: array 'images' holds pickled Python objects.* save a"
    ):
        load_npz(file, ["images"], "")
    assert not target.exists()
    np.load(file, allow_pickle=True)["images"]  # the payload is a real one
    assert target.exists()


def test_bare_pickle_is_no_npz(tmp_path):
    file, target = tmp_path / "features.npz", tmp_path / "executed"
    np.save(file.with_suffix(".npy"), np.array([Payload(target)], dtype=object))
    file.with_suffix(".npy").rename(file)
    with pytest.raises(InputError, match=r"holds one bare array; save it as numpy\.savez"):
        load_npz(file, ["images"], "")
    assert not target.exists()


def test_other_arrays_are_not_even_read(tmp_path):
    file = tmp_path / "features.npz"
    np.savez(file, images=np.ones((2, 2)), notes=np.array([Payload(tmp_path / "executed")], dtype=object))
    assert list(load_npz(file, ["images"], "")) == ["images"]
    assert not (tmp_path / "executed").exists()


def test_missing_npz_says_how_to_make_it(tmp_path):
    with pytest.raises(InputError, match=r"features\.npz: there is no such file; make it so"):
        load_npz(tmp_path / "features.npz", ["images"], "make it so")


def test_missing_array_lists_those_there(tmp_path):
    np.savez(tmp_path / "features.npz", image=np.ones((2, 2)))
    with pytest.raises(InputError, match="has no array 'images', only image; save it"):
        load_npz(tmp_path / "features.npz", ["images"], "")


def test_bare_array_is_no_npz(tmp_path):
    with (tmp_path / "features.npz").open("wb") as file:
        np.save(file, np.ones((2, 2)))
    with pytest.raises(InputError, match=r"one bare array; save it as numpy.savez\(file, images=array\)"):
        load_npz(tmp_path / "features.npz", ["images"], "")


@pytest.mark.parametrize("kept", [0, 30, 0.5, 0.9])
def test_truncated_npz_is_named(tmp_path, kept):
    file = tmp_path / "features.npz"
    np.savez(file, images=np.random.default_rng(0).random((50, 20)))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else kept])
    with pytest.raises(InputError, match=r"features\.npz: cannot be read as .npz"):
        load_npz(file, ["images"], "")


def test_damaged_member_is_named(tmp_path):
    file = tmp_path / "features.npz"
    np.savez(file, images=np.zeros((50, 20)))
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(whole)
    with pytest.raises(
        InputError, match=r"features\.npz: array 'images' cannot be read .*save the file again"
    ):
        load_npz(file, ["images"], "")


@pytest.mark.parametrize("content", [b"", b"no MATLAB file", b"MATLAB 5.0 MAT-file" + b" " * 105 + b"\0\1IM"])
def test_broken_mat_is_named(tmp_path, content):
    (tmp_path / "raw.mat").write_bytes(content)
    with pytest.raises(InputError, match=r"raw\.mat: (cannot be read as a MATLAB file|has no variable 'I')"):
        load_mat(tmp_path / "raw.mat", ["I"], "")


def test_truncated_mat_is_named(tmp_path):
    scipy.io.savemat(tmp_path / "raw.mat", {"I": np.ones((40, 4))})
    whole = (tmp_path / "raw.mat").read_bytes()
    (tmp_path / "raw.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"raw\.mat: cannot be read as a MATLAB file .*fetch it again"):
        load_mat(tmp_path / "raw.mat", ["I"], "")


def test_matlab_7_3_says_how_to_save(tmp_path):
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"
    (tmp_path / "raw.mat").write_bytes(header + bytes(512))
    with pytest.raises(InputError, match=r"is a MATLAB 7\.3 file; save it with save"):
        load_mat(tmp_path / "raw.mat", ["I"], "")


def test_mat_structure_is_no_feature_matrix(tmp_path):
    scipy.io.savemat(tmp_path / "raw.mat", {"I": {"field": np.ones((2, 2))}})
    with pytest.raises(InputError, match=r"raw\.mat: variable 'I' is no array of numbers or texts"):
        load_mat(tmp_path / "raw.mat", ["I"], "")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float16, np.float64, ">f4"])
def test_any_number_type_becomes_float32(tmp_path, dtype):
    features = feature_matrix(np.eye(3, dtype=dtype), tmp_path, "images", 3)
    np.testing.assert_array_equal(features, np.eye(3, dtype=np.float32), strict=True)


def test_rows_that_do_not_match_are_counted(tmp_path):
    with pytest.raises(
        InputError, match=r"x\.npz: array 'images' has 4 rows, expected 5; give one row an item"
    ):
        feature_matrix(np.ones((4, 2)), tmp_path / "x.npz", "images", 5)


@pytest.mark.parametrize("array", [np.ones(4), np.ones((4, 0)), np.ones((4, 2, 2)), np.full((4, 1), "a")])
def test_what_is_no_matrix_of_numbers_is_refused(tmp_path, array):
    with pytest.raises(InputError, match=r"array 'images' is .*; expected numbers \[n, d\]"):
        feature_matrix(array, tmp_path, "images", 4)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (-np.inf, "-inf"), (1e300, "1e.300")])
def test_value_that_is_not_finite_in_float32_is_located(tmp_path, value, shown):
    array = np.ones((4, 3))
    array[2, 1] = array[3, 0] = value
    message = f"row 2, column 1 is {shown} .2 rows are not finite in float32.; extract these features again"
    with pytest.raises(InputError, match=message):
        feature_matrix(array, tmp_path, "images", 4)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.jpg", "b/1.jpg"], "array 'file_names', row 1: 'b/1.jpg' was there before; extract them"),
        (["1.jpg", "2.jpg"], r"array 'file_names' lacks 3\.jpg \(1 of 2 are missing\); extract them"),
        ([1, 3], r"array 'file_names' is int64 \[2\]; expected texts"),
        (["1.jpg", "2.jpg", "3.jpg"], "array 'images' has 2 rows, expected 3"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, names, message):
    path = tmp_path / "features.npz"
    np.savez(path, images=np.ones((2, 3)), file_names=np.array(names))
    with pytest.raises(InputError, match=message):
        features_by_name(path, ["1.jpg", "3.jpg"], "extract them again")


def test_pictures_of_one_name_in_two_folders_are_told_apart_by_their_paths(tmp_path):
    path, asked = tmp_path / "features.npz", ["dogs/1.jpg", "cats/1.jpg", "dogs/1.jpg"]
    np.savez(path, images=np.arange(2)[:, None], file_names=np.array(["cats/1.jpg", "dogs\\1.jpg"]))
    assert features_by_name(path, asked, "").ravel().tolist() == [1, 0, 1]
    np.savez(path, images=np.arange(2)[:, None], file_names=np.array(["1.jpg", "2.jpg"]))
    with pytest.raises(
        InputError, match=r"not the paths 'dogs/1\.jpg' and 'cats/1\.jpg', and their last parts"
    ):
        features_by_name(path, asked, "")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "f2", "u1"])
def test_rows_are_read_in_blocks_in_any_order_and_more_than_once(tmp_path, monkeypatch, save, dtype):
    array = np.random.default_rng(0).integers(0, 200, (50, 3)).astype(dtype)
    save(tmp_path / "x.npz", images=array, other=np.ones(3))
    monkeypatch.setattr(arrays, "BLOCK", 7 * 3 * array.itemsize)
    rows = np.array([49, 7, 0, 6, 7, 20])
    found = feature_rows(tmp_path / "x.npz", rows, 50, "")
    np.testing.assert_array_equal(found, array[rows].astype(np.float32), strict=True)
    assert feature_rows(tmp_path / "x.npz", rows[:0], 50, "").shape == (0, 3)


def test_rows_of_an_array_in_the_order_of_columns_are_its_rows(tmp_path):
    array = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    np.savez(tmp_path / "x.npz", images=array)
    np.testing.assert_array_equal(feature_rows(tmp_path / "x.npz", np.array([3, 1]), 4, ""), array[[3, 1]])


def test_memory_grows_with_the_rows_asked_for_not_with_the_file(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", images=np.ones((20_000, 100), np.float32))  # 8 MB
    monkeypatch.setattr(arrays, "BLOCK", 2**16)
    tracemalloc.start()
    feature_rows(tmp_path / "x.npz", np.array([5, 19_999]), 20_000, "")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_pickled_or_damaged_rows_are_refused_and_never_executed(tmp_path):
    file, target = tmp_path / "features.npz", tmp_path / "executed"
    np.savez(file, images=np.array([[Payload(target)]], dtype=object))
    with pytest.raises(InputError, match=r"features\.npz: array 'images' holds pickled Python objects"):
        feature_rows(file, np.array([0]), 1, "")
    assert not target.exists()
    np.savez(file, images=np.zeros((50, 20)))
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(whole)
    # The byte is in none of the rows asked for.
    with pytest.raises(
        InputError, match=r"features\.npz: array 'images' cannot be read .*save the file again"
    ):
        feature_rows(file, np.array([0]), 50, "")
    np.savez(file, other=np.zeros((50, 20)))
    with pytest.raises(InputError, match=r"features\.npz: has no array 'images', only other"):
        feature_rows(file, np.array([0]), 50, "")


def test_header_that_promises_more_rows_than_there_are_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive, archive.open("images.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (9, 3)}
        )
        member.write(bytes(4 * 3 * 8))
    with pytest.raises(InputError, match=r"x\.npz: array 'images' cannot be read"):
        feature_rows(tmp_path / "x.npz", np.array([0]), 9, "")


def npz_of(path, member: bytes, name="images.npy"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, member)
    return path


def npy(header: str) -> bytes:
    """An array of 40 bytes under any header."""
    padded = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + bytes(40)


@pytest.mark.parametrize(
    "member",
    [
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 5)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 5)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 5)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 5)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5}"),
        npy("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000, 5)}"),
        npy("{'descr': 'nothing', 'fortran_order': False, 'shape': (2, 5)}"),
        npy("(" * 200),
        npy("[]"),
        b"no array",
        b"",
    ],
    ids=["rows", "digits", "negative", "bool", "syntax", "nothing", "type", "deep", "list", "text", "empty"],
)
def test_header_that_lies_is_refused_before_memory_is_taken(tmp_path, member):
    path = npz_of(tmp_path / "x.npz", member)
    for read in (lambda: load_npz(path, ["images"], ""), lambda: feature_rows(path, np.array([0]), 2, "")):
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match=r"x\.npz: array 'images' cannot be read"):
                read()
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


def test_members_that_are_no_arrays_are_not_counted_among_them(tmp_path):
    path = npz_of(tmp_path / "x.npz", b"text", name="readme.txt")
    assert array_names(path, "") == []
    with pytest.raises(InputError, match=r"x\.npz: has no array 'readme\.txt', only nothing"):
        load_npz(path, ["readme.txt"], "")


@pytest.fixture
def few_bytes(monkeypatch):
    """The limit of 256 MB is 1 MB."""
    monkeypatch.setattr(files, "ALWAYS", 2**20)


def test_compressed_array_that_needs_far_more_memory_than_its_file_is_refused(tmp_path, few_bytes):
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((4000, 128)))
    scipy.io.savemat(tmp_path / "x.mat", {"I": np.zeros((4000, 128))}, do_compression=True)
    message = "'{}' would take 4,096,[0-9]+ bytes of memory, but the file has [0-9,]+; fetch"
    with pytest.raises(InputError, match=r"x\.npz: array " + message.format("images")):
        feature_rows(tmp_path / "x.npz", np.array([0]), 4000, "")
    with pytest.raises(InputError, match=r"x\.mat: variable " + message.format("I")):
        load_mat(tmp_path / "x.mat", ["I"], "")
    # A matrix of tags, about as good as such files compress.
    tags = np.zeros((4000, 128), np.uint8)
    tags[np.arange(4000), np.random.default_rng(0).integers(0, 128, 4000)] = 1
    scipy.io.savemat(tmp_path / "x.mat", {"I": tags.astype(float)}, do_compression=True)
    np.testing.assert_array_equal(load_mat(tmp_path / "x.mat", ["I"], "")["I"], tags)


def test_hdf5_that_promises_numbers_it_never_wrote_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the extra `matlab` is not installed")
    with h5py.File(tmp_path / "x.mat", "w") as file:
        file.create_dataset("XAll", (10**9, 1000), "f8", chunks=(100, 100))
    with pytest.raises(InputError, match=r"variable 'XAll' would take 8,000,000,000,000 bytes"):
        read_mat(tmp_path / "x.mat", "XAll")
    with pytest.raises(InputError, match="variable 'XAll' would take"):
        read_mat_pictures(tmp_path / "x.mat", "XAll", 10**9)


@pytest.mark.parametrize("compressed", [True, False])
def test_mat_cells_and_sizes_that_lie_are_refused(tmp_path, compressed):
    names = np.array([["a.jpg"], ["b.jpg"], [""]], object)
    arrays = {"FAll": names, "XAll": np.eye(3), "YAll": sp.csc_array(np.eye(3))}
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, arrays, do_compression=compressed)
    read = load_mat(path, list(arrays), "")
    assert [cell[0].item() if cell[0].size else "" for cell in read["FAll"]] == ["a.jpg", "b.jpg", ""]
    np.testing.assert_array_equal(read["YAll"].toarray(), np.eye(3))
    if compressed:
        return
    content = path.read_bytes()
    sizes = {"FAll": (3, 1), "XAll": (3, 3), "YAll": (3, 3)}
    for name, size in sizes.items():
        at = content.index(np.array(size, "<i4").tobytes(), content.index(name.encode()) - 24)
        lie = np.array((2**31 - 1, size[1]), "<i4").tobytes()
        path.write_bytes(content[:at] + lie + content[at + 8 :])
        with pytest.raises(InputError, match=rf"x\.mat: variable '{name}' "):
            load_mat(path, [name], "")


def test_old_mat_that_promises_more_than_there_is_is_refused(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"I": np.eye(3)}, format="4")
    np.testing.assert_array_equal(load_mat(path, ["I"], "")["I"], np.eye(3))
    content = path.read_bytes()
    path.write_bytes(content[:4] + np.int32(2**30).tobytes() + content[8:])
    with pytest.raises(
        InputError, match=r"x\.mat: cannot be read as a MATLAB file \(a variable is sparse or"
    ):
        load_mat(path, ["I"], "")
