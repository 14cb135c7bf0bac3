"""Compiled programs that are kept on disk."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from small_folder import write_folder

from gcnxmodal.config import DataConfig, TextConfig
from gcnxmodal.data.cache import keep_compiled_programs
from gcnxmodal.data.load import load_corpus
from gcnxmodal.systems import build
from gcnxmodal.systems.base import DROPOUT, System
from gcnxmodal.systems.gin import GINExperiment, GINModel, GINTrain
from gcnxmodal.training.state import make_block

OPTIONS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, and JAX as if nothing had been said to it about one."""
    before = {option: getattr(jax.config, option) for option in OPTIONS}
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path / "cache"))
    for variable in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(variable, raising=False)
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield tmp_path / "cache"
    for option, value in before.items():
        jax.config.update(option, value)
    compilation_cache.reset_cache()


def trained(system: System) -> Any:
    """The state after an epoch, by a block that JAX takes for a new one."""
    data = dataclasses.replace(system.data, plan=system.plan(0))
    block = make_block(system.step())
    return block(system.initial_state(), data, system.key(DROPOUT), np.int32(system.steps_per_epoch))


@pytest.mark.slow
def test_a_program_that_was_kept_is_not_compiled_again_and_gives_the_same_bits(tmp_path: Path, cache: Path):
    experiment = GINExperiment(
        data=DataConfig(name="folder", root=write_folder(tmp_path / "data"), image_feature="features"),
        text=TextConfig(words=40, neighbours=4),
        model=GINModel(dimension=16),
        train=GINTrain(positives=200, negatives=200, batch=50),
    )
    system = build(experiment, load_corpus(experiment.data, experiment.text))
    hits = []
    jax.monitoring.register_event_listener(
        lambda event, **_: hits.append(event) if event == "/jax/compilation_cache/cache_hits" else None
    )
    without = trained(system)
    assert not (cache / "xla").exists()
    keep_compiled_programs()
    cold = trained(system)
    (kept,) = (cache / "xla").glob("jit_block-*")
    written = kept.stat().st_mtime_ns
    assert hits == []
    warm = trained(system)
    assert hits
    assert [(path, path.stat().st_mtime_ns) for path in (cache / "xla").glob("jit_block-*")] == [
        (kept, written)
    ]
    for state in (cold, warm):
        jax.tree.map(np.testing.assert_array_equal, state, without)


def test_a_folder_that_cannot_be_written_means_no_cache(tmp_path: Path, cache: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GCNXMODAL_CACHE", str(tmp_path / "file"))
    keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir is None  # pyright: ignore[reportAttributeAccessIssue]


def test_a_full_disk_means_no_cache_and_a_program_that_it_cut_off_goes(cache: Path, monkeypatch, caplog):
    (cache / "xla").mkdir(parents=True)
    (cache / "xla" / "jit_block-0-cache").touch()
    (cache / "xla" / "jit_block-1-cache").write_bytes(b"a program")
    monkeypatch.setattr("gcnxmodal.data.cache._unwritable", set())
    usage = shutil.disk_usage(cache)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
        keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir is None  # pyright: ignore[reportAttributeAccessIssue]
    assert "the cache cannot be written" in caplog.text
    keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(cache / "xla")  # pyright: ignore
    assert [path.name for path in (cache / "xla").iterdir()] == ["jit_block-1-cache"]


def test_a_folder_that_was_chosen_is_left_alone(tmp_path: Path, cache: Path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "chosen"))
    keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "chosen")  # pyright: ignore
    assert not cache.exists()
