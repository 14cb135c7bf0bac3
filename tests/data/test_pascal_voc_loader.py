import numpy as np
import pytest

from gcnxmodal.data.load import LOADERS, loader_options
from gcnxmodal.errors import InputError
from gcnxmodal.systems.sspe import SSPE_PRESETS
from gcnxmodal.text.vocabulary import Tokenizer

# Objects of each image, its tags, its split; None: no line in tags.txt.
IMAGES = {
    "000005": (("chair", "chair", "chair"), "chair table room", "train"),
    "000007": (("car",), "road  car", "train"),
    "000009": (("horse", "person"), "horse rider", "train"),
    "000012": (("car",), "", "train"),
    "000016": (("chair",), "seat", "train"),
    "000001": (("dog", "person"), "dog man", "test"),
    "000002": (("car", "car"), "street car", "test"),
    "000003": (("chair",), None, "test"),
    "000004": (("chair",), "stool", "test"),
}
OBJECT = "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>1</xmin></bndbox></object>"
LISTS = {"train": "trainval.txt", "test": "test.txt"}


@pytest.fixture
def root(tmp_path):
    """The official layout, with Windows line ends in lists and tags."""
    root = tmp_path / "pascal"
    voc = root / "VOCdevkit" / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (voc / folder).mkdir(parents=True)
    for split, name in LISTS.items():
        ids = [image_id for image_id, (_, _, part) in IMAGES.items() if part == split]
        (voc / "ImageSets/Main" / name).write_bytes("".join(f"{id} \r\n" for id in ids).encode())
    for image_id, (objects, _, _) in IMAGES.items():
        # Every second object is a difficult one: it counts like the others.
        found = "".join(OBJECT.format(name, row % 2) for row, name in enumerate(objects))
        part = "<part><name>head</name></part>"
        content = (
            f"<annotation><folder>VOC2007</folder>{found.replace('<bndbox>', part + '<bndbox>')}</annotation>"
        )
        (voc / "Annotations" / f"{image_id}.xml").write_text(content)
    tags = [f"{id}\t{tags} \r\n" for id, (_, tags, _) in IMAGES.items() if tags is not None]
    (root / "tags.txt").write_bytes("".join(reversed(tags)).encode())
    np.savez(root / "features.npz", images=np.arange(18, dtype=np.uint8).reshape(9, 2))
    return root


@pytest.fixture
def load(root, tmp_path):
    def load(place=None, **options):
        options = {
            "words": 20,
            "tokenizer": Tokenizer(),
            "image_feature": "features",
            "cache_dir": tmp_path / "cache",
            **options,
        }
        return LOADERS["pascal-voc"](place or root, **options)

    return load


def test_images_of_one_class_with_tags_are_kept_in_the_order_of_the_lists(load):
    corpus = load()
    assert corpus.texts == ("chair table room", "road car", "seat", "street car", "stool")
    assert corpus.class_names == ("car", "chair")
    np.testing.assert_array_equal(corpus.labels.argmax(axis=1), [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(corpus.splits["train"], [0, 1, 2])
    np.testing.assert_array_equal(corpus.splits["test"], [3, 4])
    # Rows 0, 1, 4 of trainval.txt; rows 1 and 3 of test.txt, which come after its five.
    expected = np.array([[0, 1], [2, 3], [8, 9], [12, 13], [16, 17]], np.float32)
    np.testing.assert_array_equal(corpus.images, expected, strict=True)
    assert corpus.pictures is None


def test_images_of_one_object_are_fewer(load):
    corpus = load(selection="one-object")
    assert corpus.texts == ("road car", "seat", "stool")


def test_all_images_with_tags_may_have_several_labels(load, root):
    objects = "".join(OBJECT.format(name, 0) for name in ("person", "dog", "car"))
    path = root / "VOCdevkit/VOC2007/Annotations/000007.xml"
    path.write_text(f"<annotation>{objects}</annotation>")
    corpus = load(selection="all")
    assert len(corpus) == 7
    assert corpus.class_names == ("car", "chair", "dog", "horse", "person")
    np.testing.assert_array_equal(corpus.labels[1], [True, False, True, False, True])


def test_sspe_has_all_images_with_tags_in_the_official_split(load, root):
    path = root / "VOCdevkit/VOC2007/Annotations/000007.xml"  # every class has a training image
    path.write_text(f"<annotation>{OBJECT.format('dog', 0)}{OBJECT.format('car', 0)}</annotation>")
    corpus = load(**loader_options(SSPE_PRESETS["sspe-pascal"][1].data))
    tagged = [(id, part) for id, (_, tags, part) in IMAGES.items() if tags]
    assert [corpus.texts[row] for row in corpus.splits["test"]] == ["dog man", "street car", "stool"]
    assert len(corpus.splits["train"]) == sum(part == "train" for _, part in tagged) == 4
    assert corpus.labels.sum(axis=1).max() == 2


def test_provenance_counts_every_reading(load):
    assert load().provenance["images"] == {
        "listed": {"train": 5, "test": 4},
        "one-class": {"train": 3, "test": 2},
        "one-object": {"train": 2, "test": 1},
        "all": {"train": 4, "test": 3},
    }


def test_root_may_be_the_folder_of_the_archive_or_inside_it(load, root):
    before = load()
    for place in (root / "VOCdevkit", root / "VOCdevkit" / "VOC2007"):
        for name in ("tags.txt", "features.npz"):
            (place / name).write_bytes((root / name).read_bytes())
        assert load(place).provenance["hash"] == before.provenance["hash"]


def test_changed_test_tags_change_no_bit_of_vocabulary_and_training_counts(load, root):
    before = load()
    content = (root / "tags.txt").read_text().replace("stool", "entirely new words")
    (root / "tags.txt").write_text(content)
    after = load()
    assert "entirely new words" in after.texts
    assert before.vocabulary == after.vocabulary
    assert before.counts[:3].data.tobytes() == after.counts[:3].data.tobytes()


def test_features_with_file_names_are_found_by_them(load, root):
    before = load().images
    order = np.random.default_rng(0).permutation(9)
    names = [f"{image_id}.jpg" for split in LISTS for image_id, of in IMAGES.items() if of[2] == split]
    images = np.arange(18).reshape(9, 2)[order]
    np.savez(root / "features.npz", images=images, file_names=np.array(names)[order])
    np.testing.assert_array_equal(load().images, before)


@pytest.mark.parametrize("inside", [True, False])
def test_features_and_tags_may_be_files_of_any_name(load, root, tmp_path, inside):
    folder = root if inside else tmp_path
    np.savez(folder / "gist.npz", images=np.full((9, 3), 2))
    (folder / "mine.txt").write_bytes((root / "tags.txt").read_bytes())
    names = ["gist.npz", "mine.txt"] if inside else [str(tmp_path / "gist.npz"), str(tmp_path / "mine.txt")]
    corpus = load(image_feature=names[0], tag_file=names[1])
    np.testing.assert_array_equal(corpus.images, np.full((5, 3), 2.0))


def test_pictures_of_the_chosen_images_are_encoded(load, root, monkeypatch):
    folder = root / "VOCdevkit/VOC2007/JPEGImages"
    for image_id in IMAGES:
        (folder / f"{image_id}.jpg").touch()
    chosen = [folder / f"{image_id}.jpg" for image_id in ("000005", "000007", "000016", "000002", "000004")]

    def features(pictures, resolution, *, cache_dir):
        assert (pictures, resolution) == (chosen, 96)
        return np.ones((5, 2), np.float32)

    monkeypatch.setattr("gcnxmodal.data.picture_features.picture_features", features)
    corpus = load(image_feature="efficientnet-lite0", resolution=96)
    assert corpus.pictures == tuple(map(str, chosen))
    chosen[0].unlink()
    with pytest.raises(InputError, match=r"JPEGImages/000005\.jpg: there is no such file; unpack"):
        load(image_feature="efficientnet-lite0")


def test_second_load_is_read_from_the_cache(load, monkeypatch):
    before = load()
    monkeypatch.setattr("gcnxmodal.data.loader.assemble", None)
    assert load().provenance == before.provenance


VOC = "VOCdevkit/VOC2007"
TRAINVAL, TEST = (f"{VOC}/ImageSets/Main/{name}" for name in LISTS.values())
XML = f"{VOC}/Annotations/000007.xml"


@pytest.mark.parametrize("name", [TRAINVAL, TEST, XML])
def test_missing_file_is_named_with_where_to_get_it(load, root, name):
    (root / name).unlink()
    with pytest.raises(InputError) as error:
        load()
    assert str(error.value).startswith(f"{root / name}: there is no such file; unpack the archives of http")
    assert "/pascal/VOC/voc2007/" in str(error.value)


def test_missing_tags_and_features_say_how_to_write_them(load, root):
    (root / "features.npz").unlink()
    with pytest.raises(
        InputError, match=r"features\.npz: there is no such file; write it .* of trainval\.txt, then"
    ):
        load()
    (root / "tags.txt").unlink()
    with pytest.raises(
        InputError, match=r"tags\.txt: there is no such file; write a line an image: its id, a"
    ):
        load()


def test_missing_folder_is_named(load, tmp_path):
    with pytest.raises(InputError, match=r"nowhere: there is no such folder; --data\.root must name"):
        load(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(
        InputError, match=r"other/VOCdevkit/VOC2007/ImageSets/Main/trainval\.txt: there is no"
    ):
        load(tmp_path / "other")


DOCTYPE = '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
BAD_FILES = {
    "path as id": (
        TRAINVAL,
        "000005\n../000007\n",
        r"line 2 is '\.\./000007'; expected one image id, such as",
    ),
    "class list": (TRAINVAL, "000005 -1\n", "line 1 is '000005 -1'; expected one image id"),
    "twice": (
        TRAINVAL,
        "000005\n000005\n",
        r"line 2: image 000005 was there before, in trainval\.txt; .* once",
    ),
    "in both": (
        TEST,
        "000001\n000005\n",
        r"line 2: image 000005 was there before, in trainval\.txt; an image",
    ),
    "list not utf-8": (TEST, b"\xe9\n", "byte 0 .0xe9, line 1. is not UTF-8"),
    "document type": (XML, DOCTYPE, "has a document type definition, which is never read; remove <!DOCTYPE"),
    "broken xml": (XML, "<annotation>\n<object>", "is not well-formed XML .*line 2.*; mend that line"),
    "no object": (XML, "<annotation/>", "has no element <object>; fetch it again"),
    "no name": (XML, "<annotation><object/></annotation>", "an <object> has the <name> '', which is none of"),
    "class": (
        XML,
        f"<annotation>{OBJECT.format('unicorn', 0)}</annotation>",
        "an <object> has the <name> 'unicorn', which is none of the 20 classes of VOC 2007; mend it",
    ),
    "no tab": ("tags.txt", "000005\tchair\n000007 car\n", "line 2 has no tab; write a line an image: its id"),
    "unknown id": (
        "tags.txt",
        "7\tcar\n",
        r"line 1: image '7' is in neither trainval\.txt nor test\.txt; mend",
    ),
    "tags twice": (
        "tags.txt",
        "000005\ta\n000005\tb\n",
        "line 2: image 000005 has a line before this; write",
    ),
    "tags not utf-8": (
        "tags.txt",
        b"000005\tcaf\xe9\n",
        "byte 10 .0xe9, line 1. is not UTF-8; save the file",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_is_refused_by_name(load, root, name, content, message):
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"(?s)^{root / name}: {message}"):
        load()
    assert not list(root.parent.glob("cache/**/*.npz"))


def test_no_image_with_tags_is_an_empty_split(load, root):
    (root / "tags.txt").write_text("000005\tchair\n")
    with pytest.raises(InputError, match="the test split is empty"):
        load()


def test_bad_features_are_refused_by_row_of_the_lists(load, root):
    np.savez(root / "features.npz", images=np.ones((5, 2)))
    with pytest.raises(InputError, match=r"features\.npz: array 'images' has 5 rows, expected 9; give one"):
        load()
    np.savez(root / "features.npz", images=np.where(np.arange(18).reshape(9, 2) == 13, np.nan, 1))
    with pytest.raises(InputError, match="array 'images', row 6, column 1 is nan"):
        load()
    np.savez(root / "features.npz", images=np.array([{}] * 9))
    with pytest.raises(InputError, match="array 'images' holds pickled Python objects"):
        load()


def test_unknown_option_lists_the_known(load):
    with pytest.raises(
        InputError, match=r"--data\.image-feature is 'gist'; pascal-voc has 'features' .features"
    ):
        load(image_feature="gist")
    with pytest.raises(
        InputError, match=r"--data\.selection is 'single'; choose one of one-class, one-object, all"
    ):
        load(selection="single")
