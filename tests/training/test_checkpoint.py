import os
import resource
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gcnxmodal.errors import InputError
from gcnxmodal.training.checkpoint import Checkpoints

FINGERPRINT = {"model": "m", "corpus": "c"}


def state(seed: int, size: int = 50_000):
    """Leaves whose names are not in the order of the tree's leaves."""
    weights = jax.random.normal(jax.random.key(seed), (size,))
    return {"w": weights, "step": jnp.int32(seed), "layers": [jnp.full(2, i) for i in range(12)]}


def opened(path: Path, said: list[str] | None = None, **fingerprint: str) -> Checkpoints:
    return Checkpoints(path, FINGERPRINT | fingerprint, report=([] if said is None else said).append)


def filled(path: Path, seeds=(1, 2)) -> None:
    checkpoints = opened(path)
    for seed in seeds:
        checkpoints.save(seed, state(seed))
    checkpoints.close()


def truncate_largest_file(folder: Path) -> None:
    largest = max(
        (file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size
    )
    os.truncate(largest, largest.stat().st_size // 2)


def test_restore_gives_back_the_same_bits_of_the_newest(tmp_path: Path):
    filled(tmp_path)
    restored, step = opened(tmp_path).restore(state(0))
    assert step == 2
    jax.tree.map(np.testing.assert_array_equal, restored, state(2))


def test_save_holds_the_state_of_its_moment_though_the_buffers_are_donated_on(tmp_path: Path):
    advance = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    now = state(1, 2_000_000)
    expected = np.array(now["w"])
    checkpoints = opened(tmp_path)
    checkpoints.save(1, now)
    for _ in range(20):
        now = advance(now)
    checkpoints.wait()
    np.testing.assert_array_equal(checkpoints.restore(now)[0]["w"], expected)


def test_only_the_newest_are_kept(tmp_path: Path):
    filled(tmp_path, seeds=range(1, 7))
    assert opened(tmp_path).steps == [4, 5, 6]


def test_no_checkpoint_restores_to_none(tmp_path: Path):
    assert opened(tmp_path).restore(state(0)) is None


def test_truncated_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path):
    filled(tmp_path)
    truncate_largest_file(tmp_path / "2")
    said: list[str] = []
    restored, step = opened(tmp_path, said).restore(state(0))
    assert step == 1
    np.testing.assert_array_equal(restored["w"], state(1)["w"])
    assert len(said) == 1
    assert str(tmp_path / "2") in said[0]
    assert "the one before" in said[0]


def test_damaged_checkpoints_are_set_aside_by_name_and_written_anew(tmp_path: Path):
    filled(tmp_path)
    truncate_largest_file(tmp_path / "2")
    (tmp_path / "99").mkdir()
    said: list[str] = []
    checkpoints = opened(tmp_path, said)
    assert checkpoints.restore(state(0), set_aside=True)[1] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2.damaged", "99.damaged"}
    assert said[-2:] == [
        f"{tmp_path / '99'}: set aside as 99.damaged",
        f"{tmp_path / '2'}: set aside as 2.damaged",
    ]
    checkpoints.save(2, state(2))
    checkpoints.close()
    np.testing.assert_array_equal(opened(tmp_path).restore(state(0))[0]["w"], state(2)["w"])
    truncate_largest_file(tmp_path / "2")
    opened(tmp_path).restore(state(0), set_aside=True)
    assert (tmp_path / "2.damaged1").is_dir()


def test_checkpoint_without_its_fingerprint_is_damaged_and_not_of_another_model(tmp_path: Path):
    filled(tmp_path)
    (tmp_path / "2" / "_CHECKPOINT_METADATA").unlink()
    said: list[str] = []
    assert opened(tmp_path, said).restore(state(0))[1] == 1
    assert "2: this checkpoint cannot be read (it does not say of which model it is)" in said[0]


def test_nothing_readable_is_an_error_that_says_what_to_do(tmp_path: Path):
    filled(tmp_path)
    for step in ("1", "2"):
        truncate_largest_file(tmp_path / step)
    with pytest.raises(InputError, match=r"none of the checkpoints \[1, 2\] can be read.*--overwrite"):
        opened(tmp_path).restore(state(0))


@pytest.mark.parametrize(
    ("part", "fix"), [("model", "config.json"), ("corpus", "the data have changed since")]
)
def test_checkpoint_of_another_model_or_corpus_is_refused(tmp_path: Path, part: str, fix: str):
    filled(tmp_path)
    with pytest.raises(InputError, match=f"another {part}.*{fix}"):
        opened(tmp_path, **{part: "other"}).restore(state(0))


def test_disk_that_fills_during_a_save_leaves_the_last_good_checkpoint(tmp_path: Path):
    """A limit on file size makes the write fail in the same place as a full disk does."""
    filled(tmp_path)
    said: list[str] = []
    checkpoints = opened(tmp_path, said)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        checkpoints.save(3, state(3))
        assert not checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert "saving checkpoint 3 failed" in said[0]
    assert "the last good one is 2" in said[0]
    np.testing.assert_array_equal(checkpoints.restore(state(0))[0]["w"], state(2)["w"])
    checkpoints.save(4, state(4))  # and the run can go on once there is room
    assert checkpoints.wait()
    checkpoints.close()
    assert opened(tmp_path).steps == [1, 2, 4]
