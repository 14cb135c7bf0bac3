"""`python -m gcnxmodal.features` as a user meets it: three layouts, what is written, refusals, going on."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from picture_files import noise
from PIL import Image
from reference import torchvision_networks as peers
from untrained_runs import untrained

from gcnxmodal import Retriever, features
from gcnxmodal.data import folder, picture_features, visual_words, wikipedia
from gcnxmodal.data.files import file_digest
from gcnxmodal.data.folder import find_pictures
from gcnxmodal.data.gist import gist_features
from gcnxmodal.data.pictures import imagenet_crop
from gcnxmodal.data.split import stratified_split
from gcnxmodal.errors import InputError
from gcnxmodal.text.vocabulary import Tokenizer

NAMES = ["b/2.png", "a/1.png", "b/3.png", "a/0.png", "c.png", "d.png"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pictures_in(root, names):
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise(root / name, seed, (70, 60))
    return [root / name for name in names]


@pytest.fixture
def generic(tmp_path):
    """A folder with metadata; the first four items are for training."""
    root = tmp_path / "generic"
    pictures_in(root, NAMES)
    rows = [
        {
            "file_name": name,
            "text": f"word{i % 2}",
            "label": "xy"[i % 2],
            "split": "train" if i < 4 else "test",
        }
        for i, name in enumerate(NAMES)
    ]
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture
def archive(tmp_path):
    """The Wikipedia layout, with pictures."""
    root = tmp_path / "wikipedia"
    (root / "texts").mkdir(parents=True)
    (root / "categories.list").write_text("art\nbiology\n")
    for split, ids in (("train", (3, 1, 2)), ("test", (5, 4))):
        lines = [f"t{i}\ti{i}\t{1 + i % 2}\n" for i in ids]
        (root / f"{split}set_txt_img_cat.list").write_text("".join(lines))
        for i in ids:
            (root / "texts" / f"t{i}.xml").write_text(f"<document><text>word{i % 2}</text></document>")
    names = [f"images/{('art', 'biology')[i % 2]}/i{i}.jpg" for i in (3, 1, 2, 5, 4)]
    pictures_in(root, names)
    return root


def command(root, backbone, *more):
    return ["--images", str(root), "--backbone", backbone, *map(str, more)]


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


OPTIONS = {"words": 20, "tokenizer": Tokenizer()}


def test_folder_with_metadata_trains_on_what_is_written(generic, cache, tmp_path):
    assert features.main(command(generic, "gist")) == 0
    found = arrays(generic / "features.npz")
    expected = gist_features([generic / name for name in NAMES], cache_dir=tmp_path / "other")
    np.testing.assert_allclose(found["images"], expected, atol=1e-6)
    corpus = folder.load(generic, image_feature="features", cache_dir=cache, **OPTIONS)
    np.testing.assert_array_equal(corpus.images, found["images"], strict=True)
    assert json.loads(str(found["about"]))["backbone"] == "gist"


def test_a_run_on_what_is_written_is_asked_with_a_picture(generic, tmp_path):
    assert features.main(command(generic, "gist")) == 0
    run = untrained(generic, "gch")
    retriever = Retriever.of_run(run).with_items(run.system.inputs)
    loaded = Retriever.from_pretrained(retriever.save_pretrained(tmp_path / "model"))
    picture = generic / NAMES[3]
    row = run.system.inputs.corpus.images[[3]]
    np.testing.assert_array_equal(loaded.encode_image(picture), loaded.encode_image(row))
    made = {"backbone": "vgg19", "weights": "theirs.pth", "sha256": "0" * 64, "resolution": 224}
    loaded.about["images"]["made_with"] = made
    with pytest.raises(InputError, match="--weights is not set; vgg19 needs"):
        loaded.encode_image(picture)
    loaded.weights = tmp_path / "ours.pth"
    loaded.weights.write_bytes(b"other")
    with pytest.raises(InputError, match=r"ours\.pth: the .* with other weights of vgg19 .theirs\.pth."):
        loaded.encode_image(picture)


def test_wikipedia_archive_trains_on_what_is_written(archive, cache, tmp_path, capsys):
    assert features.main(command(archive, "gist")) == 0
    assert f"--data.image-feature {archive / 'gist.npz'}\n" in capsys.readouterr().out
    found = arrays(archive / "gist.npz")
    assert {name: found[name].shape for name in ("train", "test")} == {"train": (3, 512), "test": (2, 512)}
    pictures = [archive / f"images/{('art', 'biology')[i % 2]}/i{i}.jpg" for i in (3, 1, 2, 5, 4)]
    expected = gist_features(pictures, cache_dir=tmp_path / "other")
    np.testing.assert_allclose(np.concatenate([found["train"], found["test"]]), expected, atol=1e-6)
    corpus = wikipedia.load(archive, image_feature="gist.npz", cache_dir=cache, **OPTIONS)
    np.testing.assert_array_equal(corpus.images[3:], found["test"], strict=True)


def test_bare_folder_is_read_in_the_order_of_its_file_names(tmp_path):
    root = tmp_path / "bare"
    pictures_in(root, NAMES)
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.png").write_text("no picture")
    output = tmp_path / "new" / "out.npz"
    assert features.main(command(root, "gist", "--output", output)) == 0
    found = arrays(output)
    assert found["file_names"].tolist() == sorted(NAMES)
    expected = gist_features([root / name for name in sorted(NAMES)], cache_dir=tmp_path / "other")
    np.testing.assert_allclose(found["images"], expected, atol=1e-6)


@pytest.mark.slow
def test_resnet50_features_are_those_of_pytorch(tmp_path):
    root, weights = tmp_path / "bare", tmp_path / "resnet50.pth"
    pictures = pictures_in(root, ["0.png", "1.png", "2.png"])
    peer = peers.with_statistics(peers.ResNet())
    torch.save(peer.state_dict(), weights)
    assert features.main(command(root, "resnet50", "--weights", weights, "--batch", 2)) == 0
    pixels = np.stack([imagenet_crop(picture, 224) for picture in pictures]).astype(np.float32) / 255
    scaled = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.inference_mode():
        expected = peer.pooled(torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2)).numpy()
    found = arrays(root / "features.npz")
    assert np.abs(found["images"] - expected).max() < 1e-4 * np.abs(expected).max()
    assert json.loads(str(found["about"]))["sha256"] == file_digest(weights)


@pytest.mark.parametrize("given", [True, False], ids=["split given", "split of the loader"])
def test_codebook_is_fitted_on_training_items_only(generic, monkeypatch, capsys, given):
    metadata = generic / "metadata.jsonl"
    rows = [json.loads(line) for line in metadata.read_text().splitlines()]
    training = [0, 1, 2, 3]
    if not given:
        rows = [{**row, "label": "x"} for row in rows]
        for row in rows:
            del row["split"]
        metadata.write_text("".join(json.dumps(row) + "\n" for row in rows))
        training = stratified_split(np.ones((6, 1), bool), NAMES, 0.2, 0)["train"].tolist()
        assert len(training) == 5
    fitted_on, original = [], visual_words.fit_codebook

    def fit(pictures, **options):
        fitted_on.extend(pictures)
        return original(pictures, words=8, **options)

    monkeypatch.setattr(visual_words, "fit_codebook", fit)
    assert features.main(command(generic, "bof")) == 0
    assert fitted_on == [generic / NAMES[row] for row in training]
    found = arrays(generic / "features.npz")["images"]
    np.testing.assert_allclose(found.sum(axis=1), np.ones(6), atol=1e-6)
    assert f"fitted on the {len(training)} training items of 6" in capsys.readouterr().out


def test_codebook_of_a_bare_folder_says_that_it_saw_everything(tmp_path, monkeypatch, capsys):
    pictures_in(tmp_path / "bare", NAMES)
    monkeypatch.setattr(visual_words, "WORDS", 8)
    original = visual_words.fit_codebook
    monkeypatch.setattr(visual_words, "fit_codebook", lambda *a, **o: original(*a, words=8, **o))
    assert features.main(command(tmp_path / "bare", "bof")) == 0
    assert "codebook of 8 visual words: fitted on all 6 pictures" in capsys.readouterr().out


def test_existing_output_is_kept_unless_overwrite(generic, monkeypatch, capsys):
    np.savez(generic / "features.npz", images=np.ones((6, 2)))
    before = (generic / "features.npz").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("gcnxmodal.data.gist.gist_features", lambda *_, **__: pytest.fail("computed"))
        assert features.main(command(generic, "gist")) == 2
    assert "features.npz: is there already; add --overwrite" in capsys.readouterr().err
    assert (generic / "features.npz").read_bytes() == before
    assert features.main(command(generic, "gist", "--overwrite")) == 0
    assert arrays(generic / "features.npz")["images"].shape == (6, 512)


def test_stopped_run_says_so_and_the_same_command_goes_on(generic, monkeypatch, capsys):
    monkeypatch.setattr(picture_features, "PART", 2)
    encoded, original = [], features.gist.gist

    def stop_at_the_third(grey):
        encoded.append(len(grey))
        if len(encoded) == 3:
            raise KeyboardInterrupt
        return original(grey)

    monkeypatch.setattr(features.gist, "gist", stop_at_the_third)
    assert features.main(command(generic, "gist")) == 130
    assert "stopped, what is finished is kept. To go on:\n  python -m gcnxmodal.f" in capsys.readouterr().err
    assert not (generic / "features.npz").exists()
    assert features.main(command(generic, "gist")) == 0
    assert encoded == [2, 2, 2, 2], "two parts, the third in vain, and then only the third"


REFUSALS = {
    "no weights": (["vgg19"], r"--weights is not set; vgg19 needs vgg19-dcbb9e9d.pth"),
    "weights missing": (["resnet50", "--weights", "nowhere.pth"], "nowhere.pth: there is no such file"),
    "weights of gist": (
        ["gist", "--weights", "w.pth"],
        "--weights is w.pth, but gist has none; leave it out",
    ),
    "suffix": (["gist", "--output", "features.npy"], "features.npy: --output must end in .npz"),
    "batch": (["gist", "--batch", "0"], "--batch is 0; give at least 1"),
}


@pytest.mark.parametrize(("more", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals_name_the_fix_and_exit_with_2(generic, capsys, more, message):
    assert features.main(command(generic, *more)) == 2
    assert message in capsys.readouterr().err
    assert not (generic / "features.npz").exists()


def test_weights_of_another_network_are_refused_before_a_picture_is_decoded(generic, tmp_path, capsys):
    torch.save(peers.ResNet(width=4).state_dict(), tmp_path / "narrow.pth")
    (generic / NAMES[2]).write_text("no picture")
    assert features.main(command(generic, "vgg19", "--weights", tmp_path / "narrow.pth")) == 2
    assert "narrow.pth: has no tensor 'features.0.weight'" in capsys.readouterr().err


def test_bof_without_opencv_names_the_extra(generic, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert features.main(command(generic, "bof")) == 2
    assert "pip install 'gcnxmodal[descriptors]'" in capsys.readouterr().err


def test_bad_folders_are_named(tmp_path, archive, capsys):
    (tmp_path / "texts-only").mkdir()
    (tmp_path / "texts-only" / "a.txt").touch()
    (archive / "images/art/i2.jpg").unlink()
    messages = {
        "nowhere": "nowhere: there is no such folder; --images must name the folder with your pictures",
        "texts-only": "texts-only: there is no picture in this folder",
        "wikipedia": "i2.jpg: there is no such file; unpack the archive",
    }
    for name, message in messages.items():
        assert features.main(command(tmp_path / name, "gist")) == 2
        assert message in capsys.readouterr().err


def test_metadata_without_pictures_say_which_field_is_missing(folder, capsys):
    assert features.main(command(folder, "gist", "--overwrite")) == 2
    assert "there is no field 'file_name'" in capsys.readouterr().err


def test_pictures_of_a_bare_folder_are_told_by_their_suffix(tmp_path):
    names = ["a.JPG", "b.jpeg", "c.png", "d.webp", "e.gif", "f.bmp", "g.tiff"]
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / ".thumbnails").mkdir()
    for name in ("features.npz", "features.h5", ".thumbnails/a.png"):
        (tmp_path / name).touch()
    assert [path.name for path in find_pictures(tmp_path).pictures] == names


def test_help_teaches_backbones_layouts_and_the_way_on():
    done = subprocess.run(
        [sys.executable, "-m", "gcnxmodal.features", "--help"], capture_output=True, text=True, check=True
    )
    words = " ".join(done.stdout.replace("│", " ").split())
    for told in (
        "vgg19 (fc7, 4,096",
        "gist (512)",
        "Wikipedia archive",
        "--overwrite",
        "goes on after a stop",
    ):
        assert told in words
