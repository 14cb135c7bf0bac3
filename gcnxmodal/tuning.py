"""Fitting Joint to its data: `--tune on` tries options on held-out training items before training begins.

In this order: the epochs, from the size of the data; dropout and weight decay, of which all settings are
trained side by side as one program, one member each; then, of the best, how sharp its posteriors are and
which shares SM, CCA and the classes have. What the command line changes is left as it is.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from sklearn.preprocessing import normalize

from gcnxmodal.config import changed, experiment_dict, flat
from gcnxmodal.console import say
from gcnxmodal.corpus import Corpus
from gcnxmodal.holdout import VALIDATION_SEED
from gcnxmodal.inputs import Inputs
from gcnxmodal.report.values import as_map
from gcnxmodal.retrieval.database import Embeddings
from gcnxmodal.retrieval.evaluate import standard_map
from gcnxmodal.retrieval.metrics import PAIR_MEASURE, by_measure
from gcnxmodal.retriever import Retriever
from gcnxmodal.sweeps import trained_members
from gcnxmodal.systems import build
from gcnxmodal.systems.joint import JointModel
from gcnxmodal.systems.joint.joint import fit_yardsticks, steps_of
from gcnxmodal.systems.joint.model import sharpened
from gcnxmodal.systems.joint.yardsticks import GIVES, SIDES, Linear

HELD_OUT, MOST_HELD_OUT, FEWEST = 0.2, 1_000, 30
MOST_TRAINED = 20_000  # items that the settings are trained on
STEPS, SEARCH_STEPS = 1_200, 400  # about, of the training and of the search
EPOCHS = 10, 60  # least and most
CLASS_SHARE = 0.5  # of the members that are tried
SETTINGS: dict[str, tuple[float, ...]] = {
    "train.text_dropout": (0.3, 0.6),
    "train.hidden_dropout": (0.3, 0.6),
    "train.weight_decay": (0.1, 1.0),
}
MIXES: dict[str, tuple[float, ...]] = {
    "model.sm_texts": (0.0, 0.5, 1.0),
    "model.sm_images": (0.0, 0.5, 1.0),
    "model.text_temperature": (0.5, 1.0),
    "model.image_temperature": (1.0, 1.5, 2.0),
}
CCA_SHARES = (0.0, 0.2, 0.5, 0.8, 1.0)
CLASS_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)


def choose(preset: Any, experiment: Any, corpus: Corpus) -> dict[str, Any]:
    """Values that fit the data.

    Args:
        preset: the experiment that the command line began with: what it changes is not chosen.

    Returns:
        chosen: values by dotted name; and of the held-out items: how many, each setting with its scores, and
        `found`: MAP by class and recall@10 of own pairs of Joint as it was, as it is now, of SM and of CCA.
    """
    given, usual = flat(experiment_dict(experiment)), flat(experiment_dict(preset))
    free = {name for name, value in given.items() if value == usual[name]}
    steps = steps_of(len(corpus.splits["train"]), experiment.train)
    sized = {"epochs": int(np.clip(round(STEPS / steps), *EPOCHS))} if "epochs" in free else {}
    held = _held_out(corpus)
    rows = held.splits["test"]
    if len(rows) < FEWEST:
        say(f"tuning: {len(rows)} items can be held out, too few to choose by; options stay as they are")
        return {"chosen": sized, "items": len(rows), "settings": [], "found": {}}
    alone = changed(
        changed(experiment, sized),
        {
            **dict.fromkeys(("model.sm_texts", "model.sm_images", "model.cca"), 0.0),
            **dict.fromkeys(("model.text_temperature", "model.image_temperature"), 1.0),
            **{"model.class_share": CLASS_SHARE, "model.members": 1, "stop": "last", "tune": "off"},
        },
    )
    settings = _settings(alone, free)
    say(f"tuning on {len(rows):,} held-out training items: {len(settings)} settings, one member each")
    inputs, found = _trained(alone, settings, held)
    scored = [_scores(parts, held) for parts in found]
    best = _best([float(np.mean(list(of.values()))) for of in scored], len(rows))
    fixed = _by_yardsticks(inputs, rows, alone.model)
    usual_mix = {name: given[name] for name in (*MIXES, "model.cca")}
    mix = _best_mix(found[best], fixed, usual_mix, free, held)
    joint = _mixed(found[best], fixed, mix)
    report = {
        "as it was": _scores(_mixed(found[0], fixed, usual_mix), held),
        "tuned": _scores(joint, held),
        **{name: _scores(parts, held) for name, parts in _alone(fixed).items()},
    }
    if corpus.labelled:
        mix["model.class_share"] = _class_share(joint, held)
    else:
        mix = {"model.cca": mix["model.cca"]}
    values = {**sized, **settings[best], **mix}
    chosen = {name: value for name, value in values.items() if name in free and value != given[name]}
    _tell(chosen, report)
    settings_scored = [{"values": v, **of} for v, of in zip(settings, scored, strict=True)]
    return {"chosen": chosen, "items": len(rows), "settings": settings_scored, "found": report}


class _Parts(NamedTuple):
    """Texts and images of the held-out items: what they are told apart by, and class posteriors."""

    pair: Sequence[np.ndarray]
    classes: Sequence[np.ndarray]


def _held_out(corpus: Corpus) -> Corpus:
    """The training items, of a large corpus some of them, with a part as test items."""
    train = corpus.splits["train"]
    if len(train) > MOST_TRAINED:
        some = np.random.default_rng(VALIDATION_SEED).choice(train, MOST_TRAINED, replace=False)
        corpus = dataclasses.replace(corpus, splits={**corpus.splits, "train": np.sort(some)})
    fraction = min(HELD_OUT, MOST_HELD_OUT / len(corpus.splits["train"]))
    return corpus.validation(fraction, VALIDATION_SEED)


def _settings(experiment: Any, free: set[str]) -> list[dict[str, float]]:
    """The experiment's own setting, and every other of those that may be chosen."""
    names = [name for name in SETTINGS if name in free]
    values = flat(experiment_dict(experiment))
    own = {name: values[name] for name in names}
    tried = (dict(zip(names, of, strict=True)) for of in itertools.product(*(SETTINGS[n] for n in names)))
    return [own, *(setting for setting in tried if setting != own)]


def _trained(
    experiment: Any, settings: Sequence[Mapping[str, float]], corpus: Corpus
) -> tuple[Inputs, list[_Parts]]:
    """The inputs, and what a member of each setting makes of the held-out items."""
    steps = steps_of(len(corpus.splits["train"]), experiment.train)
    epochs = max(1, min(experiment.epochs, round(SEARCH_STEPS / steps)))
    experiments = [changed(experiment, {**setting, "epochs": epochs}) for setting in settings]
    system = build(experiments[0], corpus)
    found = []
    for member, params in trained_members(system, experiments, lambda text: say(f"tuning: {text}")):
        retriever = Retriever({}, member.applied_model, params, member.constants, system.inputs.reading)
        items = retriever.encode_items(system.inputs, corpus.splits["test"])
        pair = slice(0, experiment.model.dimension)
        units: Any = [normalize(rows[:, pair]) for rows in (items.texts, items.images)]
        classes: Any = [rows[:, pair.stop :] / np.sqrt(CLASS_SHARE) for rows in (items.texts, items.images)]
        found.append(_Parts(units, classes))
    return system.inputs, found


def _by_yardsticks(inputs: Inputs, rows: np.ndarray, model: JointModel) -> dict[str, np.ndarray]:
    """What SM and CCA make of the held-out items, where they can read them; by the names of `GIVES`."""
    if np.issubdtype(inputs.texts.dtype, np.integer):  # words in order
        return {}
    features = inputs.images.ndim == 2
    wanted = dataclasses.replace(model, sm_texts=1.0, sm_images=float(features), cca=float(features))
    read = {"texts": jnp.asarray(inputs.dense_texts(rows)), "images": jnp.asarray(inputs.images[rows])}
    return {
        name: np.asarray(Linear(arrays, GIVES[name])(read[name.partition("_")[0]]))
        for name, arrays in fit_yardsticks(inputs, wanted).items()
    }


def _mixed(parts: _Parts, fixed: Mapping[str, np.ndarray], mix: Mapping[str, float]) -> _Parts:
    """The parts with those of SM and CCA mixed in, as `Joint` does it."""
    pair, classes = [], []
    for side, kind, units, posterior in zip(SIDES, ("text", "image"), parts.pair, parts.classes, strict=True):
        cca, sm = mix["model.cca"], mix[f"model.sm_{side}"]
        if cca:
            units = np.hstack([units * np.sqrt(1 - cca), fixed[f"{side}_by_cca"] * np.sqrt(cca)])
        if sm and posterior.shape[1]:
            posterior = (1 - sm) * posterior + sm * fixed[f"{side}_by_sm"]
        pair.append(units)
        classes.append(np.asarray(sharpened(jnp.asarray(posterior), mix[f"model.{kind}_temperature"])))
    return _Parts(pair, classes)


def _alone(fixed: Mapping[str, np.ndarray]) -> dict[str, _Parts]:
    """SM and CCA by themselves, where both sides are there."""
    found = {}
    for name in ("sm", "cca"):
        if f"images_by_{name}" in fixed:
            both = [fixed[f"{side}_by_{name}"] for side in SIDES]
            found[name] = _Parts(both, both)
    return found


def _best_mix(
    parts: _Parts, fixed: Mapping[str, np.ndarray], usual: dict[str, float], free: set[str], corpus: Corpus
) -> dict[str, float]:
    """The mix that is best on the held-out items: of posteriors by MAP, of the pair's score by recall@10."""
    there = {
        "model.sm_texts": "texts_by_sm" in fixed,
        "model.sm_images": "images_by_sm" in fixed,
        "model.cca": "texts_by_cca" in fixed,
    }

    def options(name: str, values: Sequence[float]) -> list[float]:
        if not there.get(name, True):
            return [0.0]
        return [usual[name], *(v for v in values if v != usual[name])] if name in free else [usual[name]]

    best = {name: options(name, ())[0] for name in usual}
    if corpus.labelled:
        grid = itertools.product(*(options(name, values) for name, values in MIXES.items()))
        mixes = [{**best, **dict(zip(MIXES, values, strict=True))} for values in grid]
        by_class = [_scores(_mixed(parts, fixed, mix), corpus, pair=False)["MAP"] for mix in mixes]
        best = mixes[_best(by_class, len(corpus.splits["test"]))]
    mixes = [{**best, "model.cca": value} for value in options("model.cca", CCA_SHARES)]
    by_pair = [_scores(_mixed(parts, fixed, mix), corpus, classes=False)[PAIR_MEASURE] for mix in mixes]
    return mixes[_best(by_pair, len(corpus.splits["test"]))]


def _class_share(parts: _Parts, corpus: Corpus) -> float:
    """The share that keeps most of both: of the MAP by class alone, and of the recall@10 by pair alone."""
    most = _scores(parts, corpus)

    def kept(share: float) -> float:
        weights = np.sqrt(1 - share), np.sqrt(share)
        both = [np.hstack([u * weights[0], p * weights[1]]) for u, p in zip(*parts, strict=True)]
        found = _scores(_Parts(both, both), corpus)
        return sum(found[name] / max(most[name], 1e-9) for name in most)

    return max(CLASS_SHARES, key=kept)


def _scores(parts: _Parts, corpus: Corpus, *, pair: bool = True, classes: bool = True) -> dict[str, float]:
    """Of the held-out items, means of both directions: `standard` MAP by class, recall@10 of own pairs."""
    rows, found = corpus.splits["test"], {}
    if classes and corpus.labelled:
        texts, images = parts.classes
        found["MAP"] = standard_map(texts, images, corpus.labels[rows])["average"]
    if pair:
        pairs = None if corpus.pairs is None else corpus.pairs.take(rows)
        found[PAIR_MEASURE] = by_measure(Embeddings(*parts.pair).exact_pairs(pairs))[PAIR_MEASURE]["average"]
    return found


def _best(scores: Sequence[float], items: int) -> int:
    """The best of some scores; the first, of what is used as it is, unless another is clearly better.

    By .1 / sqrt(items), a fifth of the most that the standard error of a share can be.
    """
    best = int(np.argmax(scores))
    return best if scores[best] >= scores[0] + 0.1 / np.sqrt(items) else 0


def _tell(chosen: Mapping[str, Any], found: Mapping[str, Mapping[str, float]]) -> None:
    """Say what was chosen, and which is best on the held-out items."""
    say("tuning: chosen " + (", ".join(f"{name} {value:g}" for name, value in chosen.items()) or "nothing"))
    names = {"as it was": "Joint as it was", "tuned": "Joint as chosen", "sm": "SM", "cca": "CCA"}
    for name, scores in found.items():
        say(f"  {names[name]:<15}  " + "  ".join(f"{of} {as_map(value)}" for of, value in scores.items()))
    for measure, value in found["tuned"].items():
        better = [names[name] for name, of in found.items() if name != "tuned" and of[measure] > value]
        if better:
            say(f"  {' and '.join(better)} has the better {measure} on these items: prefer it for that")
