"""Joint: its losses by brute force, its score, what it refuses, and runs of it on small folders."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_folder import write_folder

from gcnxmodal import export, train, tuning
from gcnxmodal.baselines import CCA, SemanticMatching
from gcnxmodal.config import DataConfig, validate
from gcnxmodal.data.load import load_corpus
from gcnxmodal.errors import InputError
from gcnxmodal.evaluation import evaluate, fit_baseline
from gcnxmodal.nn.layers import Features
from gcnxmodal.retrieval.metrics import PAIR_MEASURE, by_measure
from gcnxmodal.retriever import Retriever
from gcnxmodal.systems import build
from gcnxmodal.systems.joint import Joint, JointExperiment, JointModel, JointTrain
from gcnxmodal.systems.joint import losses as joint

SMALL = ["--data.image-feature", "features", "--text.words", "40", "--text.neighbours", "4"]
SMALL += [
    "--model.dimension",
    "16",
    "--model.members",
    "2",
    "--model.image-hidden",
    "16",
    "--train.batch",
    "32",
    "--model.sm-texts",
    "0.5",
    "--model.sm-images",
    "0.3",
    "--model.cca",
    "0.2",
    "--tune",
    "off",
]


@pytest.fixture
def pairs() -> dict[str, jax.Array]:
    """Unit vectors of 6 pairs, of which 1 and 4 are of one group; two classes and an item of both."""
    random = np.random.default_rng(0)
    texts, images = (random.standard_normal((6, 5)) for _ in range(2))
    texts, images = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (texts, images))
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [1, 0]], bool)
    groups = np.array([0, 1, 2, 3, 1, 5])
    arrays = {"texts": texts, "images": images, "labels": labels, "groups": groups}
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def test_softmax_contrast_leaves_the_others_of_a_group_out(pairs):
    found = joint.softmax_contrast(pairs["texts"], pairs["images"], jnp.array(3.0), pairs["groups"])
    scores, groups = (
        3 * np.asarray(pairs["texts"]) @ np.asarray(pairs["images"]).T,
        np.asarray(pairs["groups"]),
    )
    losses = []
    for b in range(6):
        against = [j for j in range(6) if j == b or groups[j] != groups[b]]
        for row in (scores[b], scores[:, b]):
            losses.append(np.log(np.exp(row[against]).sum()) - row[b])
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_sigmoid_contrast_in_chunks_is_the_plain_one(pairs):
    def of(chunk, scale):
        arguments = pairs["texts"], pairs["images"], scale, jnp.array(-1.0), pairs["groups"]
        return joint.sigmoid_contrast(*arguments, chunk=chunk)

    plain, chunked = (jax.value_and_grad(lambda s, c=c: of(c, s))(jnp.array(3.0)) for c in (6, 2))
    np.testing.assert_allclose(plain, chunked, rtol=1e-6)
    scores = 3 * np.asarray(pairs["texts"]) @ np.asarray(pairs["images"]).T - 1
    groups = np.asarray(pairs["groups"])
    sign = np.where(groups[:, None] == groups, 1, -1)
    assert float(plain[0]) == pytest.approx(np.log1p(np.exp(-sign * scores)).sum() / 6, rel=1e-5)


def test_class_contrast_weighs_labels_by_their_overlap(pairs):
    overlap = joint.label_overlap(pairs["labels"])
    assert float(overlap[0, 1]) == 1
    assert float(overlap[0, 2]) == 0
    assert float(overlap[0, 4]) == pytest.approx(2**-0.5)
    found = joint.class_contrast(pairs["texts"], pairs["images"], jnp.array(3.0), overlap)
    scores, overlap = 3 * np.asarray(pairs["texts"]) @ np.asarray(pairs["images"]).T, np.asarray(overlap)
    losses = []
    for b in range(6):
        for row in (scores[b], scores[:, b]):
            logs = row - np.log(np.exp(row).sum())
            losses.append(-(overlap[b] * logs).sum() / overlap[b].sum())
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_an_item_without_a_label_has_no_part_in_the_class_head():
    logits = jnp.array([[[2.0, 0.0]], [[0.0, 5.0]]])
    found = joint.cross_entropy(logits, jnp.array([[True, False], [False, False]]))
    assert float(found) == pytest.approx(np.log1p(np.exp(-2)) / 2, rel=1e-5)


def test_a_short_text_keeps_one_to_eight_of_its_words():
    texts = jnp.tile(jnp.arange(40) < 30, (2000, 1)) * 0.5
    kept = np.asarray(joint.some_words(jax.random.key(0), texts, 0.3, 1.0))
    counts = (kept > 0).sum(axis=1)
    assert counts.min() >= 1
    assert counts.mean() == pytest.approx(4.5, abs=0.2)
    kept = np.asarray(joint.some_words(jax.random.key(0), texts, 0.3, 0.0))
    assert (kept > 0).sum(axis=1).mean() == pytest.approx(21, abs=0.3)
    assert set(np.unique(kept)) == {0.0, 0.5}
    alone = np.asarray(joint.some_words(jax.random.key(1), texts[:, :1] * jnp.ones(1), 0.99, 0.5))
    assert (alone > 0).all()  # the last word stays


def test_the_score_is_the_mean_cosine_and_the_probability_of_one_class():
    config = JointModel(members=3, dimension=4, image_hidden=16, class_share=0.3, image_temperature=2.0)
    model = Joint(Features(6), Features(7), 3, config, rngs=nnx.Rngs(0))
    random = np.random.default_rng(0)
    texts, images = jnp.asarray(random.random((2, 6))), jnp.asarray(random.standard_normal((4, 7)))
    features = model.encode_texts(texts), model.encode_images(images)
    found = model.fold_texts(features[0]) @ model.fold_images(features[1]).T
    (u, p_logits), (v, q_logits) = model.read_texts(texts), model.read_images(images)
    np.testing.assert_allclose(jnp.linalg.norm(v, axis=-1), 1, rtol=1e-5)
    p = jax.nn.softmax(p_logits).mean(axis=1)
    q = jnp.sqrt(jax.nn.softmax(q_logits).mean(axis=1))
    expected = 0.7 * jnp.einsum("qmd,nmd->qnm", u, v).mean(axis=-1)
    expected += 0.3 * p @ (q / q.sum(axis=1, keepdims=True)).T
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    parts = model.preferences
    assert (parts["pair"], parts["class"]) == (slice(0, 12), slice(12, None))


def test_words_explain_the_score_of_a_pair():
    config = JointModel(members=1, dimension=4, image_hidden=0)
    model = Joint(Features(6), Features(7), 2, config, rngs=nnx.Rngs(0))
    texts, images = jnp.eye(6)[:2] + jnp.eye(6)[2:4], jnp.ones((2, 7))
    found = model.explain(texts, images)
    assert found.words.shape == texts.shape
    assert (np.asarray(found.words)[np.asarray(texts) == 0] == 0).all()
    # The text is at unit length, so that a text twice as long scores the same: nothing in sum.
    np.testing.assert_allclose(found.words.sum(axis=1), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pair": 0.0, "class_head": 0.0}, "train.pair"),
        ({"text_dropout": 1.0}, "train.text-dropout"),
        ({"learning_rate": 0.0}, "train.learning-rate"),
    ],
)
def test_values_that_cannot_train_are_refused(changes, named):
    with pytest.raises(InputError, match=f"--{named} is"):
        validate(dataclasses.replace(JointExperiment(), train=JointTrain(**changes)))


def unlabelled(root: Path) -> Path:
    """The small folder without its labels."""
    write_folder(root)
    rows = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    lines = (json.dumps({"text": row["text"], "split": row["split"]}) for row in rows)
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root


def losses(run_dir: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("joint")
    folder = write_folder(root / "data", items=96)  # 64 to train on, in batches that 8 devices can share
    arguments = ["joint-folder", "--data.root", str(folder), "--run-dir", str(root / "run"), *SMALL]
    assert train.main([*arguments, "--epochs", "12", "--evaluate-every", "6"]) == 0
    return folder, root / "run"


def test_with_all_of_the_share_the_parts_are_those_of_sm_and_cca(finished):
    folder, _ = finished
    data = DataConfig(name="folder", root=folder, image_feature="features")
    shares = JointModel(text="linear", members=1, image_hidden=0, sm_texts=1.0, sm_images=1.0, cca=1.0)
    experiment = JointExperiment(data=data, model=shares)
    corpus = load_corpus(data, experiment.text)
    system = build(experiment, corpus)
    params = system.initial_state().params
    found = Retriever.of_system(system, params).encode_items(system.inputs)
    expected = fit_baseline(SemanticMatching(), dataclasses.replace(corpus, images=system.inputs.images))
    kind, half = system.applied_model.preferences["class"], np.sqrt(shares.class_share)
    np.testing.assert_allclose(found.images[:, kind] / half, expected[1], atol=1e-4)
    texts = found.texts[:, kind] / half
    weighted = fit_baseline(SemanticMatching(), dataclasses.replace(corpus, counts=system.inputs.texts))
    own = slice(1 * shares.dimension, kind.start)
    by_cca = fit_baseline(CCA(), dataclasses.replace(corpus, images=system.inputs.images))
    np.testing.assert_allclose(found.texts[:, own] / half, by_cca[0], atol=1e-4)
    np.testing.assert_allclose(found.images[:, own] / half, by_cca[1], atol=1e-4)
    counts_or_weighted = [np.abs(texts - of).max() < 1e-4 for of in (expected[0], weighted[0])]
    assert sum(counts_or_weighted) == 1


def test_a_classifier_of_words_needs_counts():
    model = JointModel(text="lstm", sm_texts=0.5)
    with pytest.raises(InputError, match=r"--model\.sm-texts is 0\.5; it must be 0 with a text encoder"):
        validate(dataclasses.replace(JointExperiment(), model=model))


def test_with_no_term_left_nothing_is_trained(tmp_path: Path, capsys):
    folder = unlabelled(tmp_path / "data")
    arguments = ["joint-folder", "--data.root", str(folder), "--run-dir", str(tmp_path / "run"), *SMALL]
    assert train.main([*arguments, "--train.pair", "0"]) == 2
    assert "--train.pair is 0, but" in capsys.readouterr().err


def test_one_model_answers_both_questions(finished):
    _, run_dir = finished
    results = json.loads((run_dir / "results.json").read_text())
    assert results["protocols"]["standard"]["average"] > results["chance"]["standard"]["average"] + 0.1
    by_class, by_pair = (results["preferences"][name]["protocols"]["standard"] for name in ("class", "pair"))
    assert by_class["average"] > results["chance"]["standard"]["average"] + 0.2
    assert by_class != by_pair
    retriever = Retriever.from_pretrained(run_dir)
    mixed, kind, pair = (retriever.search("word01 word02", prefer=p, k=3) for p in (None, "class", "pair"))
    assert [hit.score for hit in mixed] != [hit.score for hit in kind] != [hit.score for hit in pair]
    alone, whole = (
        {hit.id: hit.score for hit in retriever.search("word01 word02", prefer=p, k=96)}
        for p in ("pair", None)
    )
    best = kind[0].id
    assert whole[best] == pytest.approx(kind[0].score + alone[best], abs=1e-5)
    with pytest.raises(InputError, match="prefer is 'colour'; it may be pair or class"):
        retriever.search("word01", prefer="colour")


def test_a_resumed_run_ends_with_the_same_bits(finished, tmp_path: Path):
    folder, run_dir = finished
    copied = tmp_path / "run"
    shutil.copytree(run_dir, copied)
    steps = sorted(int(path.name) for path in (copied / "checkpoints").iterdir() if path.name.isdigit())
    shutil.rmtree(copied / "checkpoints" / str(steps[-1]))
    arguments = ["joint-folder", "--data.root", str(folder), "--run-dir", str(copied), *SMALL, "--resume"]
    assert train.main([*arguments, "--epochs", "12", "--evaluate-every", "6"]) == 0
    first, again = (Retriever.from_pretrained(path)._arrays[0] for path in (run_dir, copied))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("more", [["--model.text", "linear"], ["--train.pair-form", "sigmoid"]])
def test_pairs_without_labels_are_learnt(tmp_path: Path, more: list[str]):
    folder = unlabelled(tmp_path / "data")
    arguments = [
        "joint-folder",
        "--data.root",
        str(folder),
        "--run-dir",
        str(tmp_path / "run"),
        *SMALL,
        *more,
    ]
    assert train.main([*arguments, "--epochs", "12", "--train.average", "0.9"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "preferences" not in results
    chance = results["chance"]["recall@10"]["average"]
    found = np.mean([results["exact_pair"][way]["recall@10"] for way in ("text_query", "image_query")])
    assert found > 1.3 * chance
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]
    with pytest.raises(InputError, match="has no parts"):
        Retriever.from_pretrained(tmp_path / "run").search("word01", prefer="class")


def test_eight_devices_have_the_loss_of_one(finished, tmp_path: Path):
    """Negatives are those of the whole batch, wherever they lie."""
    folder, run_dir = finished
    code = "import sys; from gcnxmodal import train; sys.exit(train.main(sys.argv[1:]))"
    arguments = ["joint-folder", "--data.root", str(folder), "--run-dir", str(tmp_path / "run"), *SMALL]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, "-c", code, *arguments, "--epochs", "12", "--evaluate-every", "6"]
    done = subprocess.run(command, env={**os.environ, **flags}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(run_dir), rtol=2e-4)


@pytest.fixture(scope="module")
def dense_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder whose words are drawn by chance; dense features of the texts tell the own picture."""
    root = write_folder(tmp_path_factory.mktemp("dense") / "data", items=96)
    lines = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    random = np.random.default_rng(1)
    for row in lines:
        row["text"] = " ".join(f"word{number:02d}" for number in random.integers(0, 40, 12))
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    images = np.load(root / "features.npz")["images"]
    texts = 5 + images @ random.standard_normal((12, 9)) + 0.1 * random.standard_normal((96, 9))
    np.savez(root / "features.npz", images=images, texts=texts)
    return root


def dense_run(folder: Path, run_dir: Path, *more: str) -> list[str]:
    small = [*SMALL, "--epochs", "12", "--data.root", str(folder), "--run-dir", str(run_dir)]
    return ["joint-folder", *small, "--model.text", "features", *more]


@pytest.fixture(scope="module")
def dense(dense_folder: Path) -> Path:
    run_dir = dense_folder.parent / "run"
    assert train.main(dense_run(dense_folder, run_dir, "--checkpoint-every", "6")) == 0
    return run_dir


def test_dense_features_of_texts_win_where_the_words_say_nothing(dense_folder: Path, dense: Path):
    of_words = dense_folder.parent / "words"
    assert train.main(dense_run(dense_folder, of_words, "--model.text", "linear")) == 0
    by_features, by_words = (json.loads((run / "results.json").read_text()) for run in (dense, of_words))

    def averages(results):
        own = by_measure(results["exact_pair"])[PAIR_MEASURE]["average"]
        return np.array([results["protocols"]["standard"]["average"], own])

    assert np.all(averages(by_features) > averages(by_words) + 0.2)
    assert by_features["queries"]["model"] == {}
    assert by_features["queries"]["cca"]
    assert by_features["graph"] == {"text_features": 9}


def test_a_model_of_dense_features_is_saved_searched_and_exported(
    dense_folder: Path, dense: Path, tmp_path: Path, capsys
):
    data = DataConfig(name="folder", root=dense_folder, image_feature="features")
    corpus = load_corpus(data, JointExperiment().text)
    assert corpus.text_features is not None
    saved = Retriever.from_pretrained(Retriever.from_pretrained(dense).save_pretrained(tmp_path / "saved"))
    again = saved.encode_text(corpus.text_features)
    np.testing.assert_array_equal(again, saved.database.texts, strict=True)
    np.testing.assert_array_equal(saved.encode_corpus(corpus).texts, again, strict=True)
    found = evaluate(saved, corpus)["protocols"]
    assert found == json.loads((dense / "results.json").read_text())["protocols"]
    asked = corpus.text_features[70:71]
    texts, images = saved.database.texts, saved.database.images
    assert saved.search(asked, k=1)[0].id == str(np.argmax(images @ texts[70]))
    assert saved.search(image=corpus.images[70:71], k=1)[0].id == str(np.argmax(texts @ images[70]))
    capsys.readouterr()
    assert export.main([str(dense), "--to", "npz", "--out", str(tmp_path / "rows")]) == 0
    assert "--text" not in capsys.readouterr().out
    exported = Retriever.from_pretrained(tmp_path / "rows").search(asked, k=3)
    assert exported == saved.search(asked, k=3)
    refused = r"this model reads no words but dense features .* give them as an array \[n, 9\]"
    for ask in (saved.search, saved.encode_text):
        with pytest.raises(InputError, match=refused):
            ask("word01")
    with pytest.raises(InputError, match=r"texts are float32 \[96, 8\]; this model takes .* float \[n, 9\]"):
        saved.encode_text(corpus.text_features[:, :8])
    with pytest.raises(InputError, match=r"no dense features of texts.* 'texts', a row a text, into .*npz"):
        evaluate(saved, dataclasses.replace(corpus, text_features=None))


def test_numbers_are_no_texts_for_a_model_that_reads_words(finished):
    with pytest.raises(InputError, match="texts are numbers, but this model reads words"):
        Retriever.from_pretrained(finished[1]).encode_text(np.ones((2, 9)))


def test_a_run_of_dense_features_resumes_to_the_same_bits(dense_folder: Path, dense: Path, tmp_path: Path):
    shutil.copytree(dense, tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(newest)
    (tmp_path / "run" / "results.json").unlink()
    assert train.main(dense_run(dense_folder, tmp_path / "run", "--checkpoint-every", "6", "--resume")) == 0
    names = "parameters.safetensors", "constants.safetensors"
    for name in names:
        assert (tmp_path / "run" / "model" / name).read_bytes() == (dense / "model" / name).read_bytes()


def test_a_corpus_of_features_needs_no_words_and_tunes_itself(
    dense_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tuning, "FEWEST", 5)
    root = shutil.copytree(dense_folder, tmp_path / "data")
    rows = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    lines = (json.dumps({"label": row["label"], "split": row["split"]}) for row in rows)
    (root / "metadata.jsonl").write_text("\n".join(lines))
    assert train.main(dense_run(root, tmp_path / "run", "--tune", "on")) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {"sm", "cca"} < results["tuning"]["found"].keys()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            [],
            r"jsonl: has no dense features of texts.* array 'texts', a row a text, into .*features.npz",
        ),
        (["--data.image-feature", "pixels"], r"--model.text is features; it must be another text encoder"),
        (["--train.short", "0.3"], r"--train.short is 0.3; it must be 0 with --model.text features"),
    ],
)
def test_without_dense_features_nothing_is_trained(tmp_path: Path, capsys, more, message):
    folder = write_folder(tmp_path / "data")
    assert train.main(dense_run(folder, tmp_path / "run", *more)) == 2
    assert re.search(message, capsys.readouterr().err)
