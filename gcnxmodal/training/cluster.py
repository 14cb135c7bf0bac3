"""A job of several processes: joining it, agreeing in it, and leaving it.

Every process runs the same program on the same data. Process 0 alone prints and writes the run's files; all
take part in computing and in checkpoints. What is decided on the host - a refusal, the length of a block,
stopping - is decided for all, or the others would wait for a message that never comes. A process that fails
leaves at once; the others notice by a broken connection, or by its missing heartbeat.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from gcnxmodal.errors import InputError

T = TypeVar("T")

START_SECONDS = 300
"""How long the processes wait for each other at the start; $GCNXMODAL_START_SECONDS."""

HEARTBEAT_SECONDS = 60
"""After how long without a sign of life a process counts as dead; $GCNXMODAL_HEARTBEAT_SECONDS."""

# Where launchers say how many processes they started. (Slurm's SLURM_NTASKS is set in a batch script too.)
LAUNCHERS = {"Slurm": "SLURM_STEP_NUM_TASKS", "mpirun": "OMPI_COMM_WORLD_SIZE"}

# How a connection that broke, or a peer that is gone, is spelt by gloo, JAX's coordination service and NCCL.
LOSSES = ("gloo", "coordination", "unavailable", "deadline_exceeded", "heartbeat", "connection", "nccl")


def join(processes: int | None, coordinator: str | None, process_id: int | None) -> None:
    """Join the job; before anything touches a device.

    Args:
        processes: how many it must have; None means one, unless a launcher says that it started several.
        coordinator: host:port of process 0; None where the platform tells (TPU VM, GKE, Slurm).
        process_id: this process, 0 to processes - 1; None where the platform tells.

    Raises:
        InputError: if the job has another number of processes, or the platform does not tell.
    """
    launcher, launched = _launched()
    if processes is None:
        if launched > 1:
            raise InputError(
                f"{launcher} started {launched} processes; add --processes {launched} to train one model on "
                "all of them, or --processes 1 to train a model in each"
            )
        processes = 1
    if processes < 1:
        raise InputError(f"--processes is {processes}; it must be at least 1")
    if processes == 1 and (coordinator is not None or process_id is not None):
        raise InputError("--coordinator and --process-id belong to a job of several; add --processes N")
    if process_id is not None and not 0 <= process_id < processes:
        raise InputError(
            f"--process-id is {process_id}; with --processes {processes} it must be 0 to {processes - 1}"
        )
    if processes > 1:
        if launched not in (1, processes):
            raise InputError(f"--processes is {processes} but {launcher} started {launched}; make them equal")
        _initialize(processes, coordinator, process_id)
    if jax.process_count() != processes:  # a TPU slice knows its own
        raise InputError(
            f"this job has {jax.process_count()} processes but --processes is {processes}; make them equal"
        )


def is_several() -> bool:
    """Has this process joined others."""
    return jax.distributed.is_initialized()


def first_only(do: Callable[..., T], *arguments: Any, **options: Any) -> T | None:
    """What `do` returns, in process 0, which alone prints and writes; None in the others."""
    return do(*arguments, **options) if jax.process_index() == 0 else None


def together(do: Callable[[], T]) -> T:
    """What `do` returns, if it succeeds on every process; if one refuses, all do.

    Raises:
        InputError: as `do` on this process, else that of another, naming it.
    """
    refusal: InputError | None = None
    result: list[T] = []
    try:
        result.append(do())
    except InputError as error:
        refusal = error
    messages = _exchange(str(refusal or ""))
    if refusal is not None:
        raise refusal
    for process, message in enumerate(messages):
        if message:
            raise InputError(f"process {process}: {message}")
    return result[0]


def check_same(parts: Mapping[str, str]) -> None:
    """Refuse a job whose processes do not hold the same thing.

    Args:
        parts: name: digest.

    Raises:
        InputError: naming the part and the process.
    """
    first, *others = (json.loads(text) for text in _exchange(json.dumps(parts)))
    for process, said in enumerate(others, start=1):
        for part in parts:
            if said[part] != first[part]:
                raise InputError(
                    f"process {process} has not the same {part} as process 0; start all with the same "
                    "command, data and versions, and with $GCNXMODAL_CACHE on a file system that they share"
                )


def agree(steps: int, signal: int) -> tuple[int, int]:
    """The length of the next block, by process 0's clock; and the signal that any process has got, or 0."""
    said = _gather(np.array([steps, signal], np.int32))
    return int(said[0, 0]), int(said[:, 1].max())


def as_the_first(values: Sequence[int]) -> list[int]:
    """The values of process 0."""
    return _gather(np.array(values, np.int32))[0].tolist()


def everywhere(true: bool) -> bool:
    """Is it true on every process."""
    return bool(_gather(np.array(true)).all())


def leave(error: BaseException, go_on: str) -> NoReturn:
    """End this process of several at once, because of an error that the others do not know of.

    An ordinary exit would first wait for the others, which wait for this one.

    Args:
        error: why.
        go_on: a sentence on what to do.
    """
    process = jax.process_index()
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, KeyboardInterrupt):
        reason = "stopped by a signal"
    elif isinstance(error, (RuntimeError, ValueError, OSError)) and any(w in text.lower() for w in LOSSES):
        reason = f"another process of the job died or cannot be reached ({text[:300]})"
    else:
        traceback.print_exception(error)
        reason = f"{type(error).__name__}: {text[:300]}"
    print(f"error: process {process}: {reason}. {go_on}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + getattr(error, "signal", 2) if isinstance(error, KeyboardInterrupt) else 1)


def _launched() -> tuple[str, int]:
    """The launcher and the number of processes it started; "" and 1 if there is no sign of one."""
    for launcher, variable in LAUNCHERS.items():
        if (text := os.environ.get(variable, "")).isdigit():
            return launcher, int(text)
    return "", 1


def _initialize(processes: int, coordinator: str | None, process_id: int | None) -> None:
    seconds = int(os.environ.get("GCNXMODAL_START_SECONDS", START_SECONDS))
    heartbeat = int(os.environ.get("GCNXMODAL_HEARTBEAT_SECONDS", HEARTBEAT_SECONDS))
    # JAX would take over SIGTERM, which is for the training loop.
    jax.config.update("jax_enable_preemption_service", False)
    # JAX ends a process whose peers do not come with a stack trace and no word on the count: be faster.
    timer = threading.Timer(seconds, _give_up, (processes, coordinator, seconds))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            coordinator_address=coordinator,
            num_processes=processes,
            process_id=process_id,
            initialization_timeout=seconds + 30,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=heartbeat,
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"--processes {processes}: {error} Where the platform does not tell its processes of each other, "
            "give --coordinator HOST:PORT of process 0, and --process-id"
        ) from error
    finally:
        timer.cancel()


def _give_up(processes: int, coordinator: str | None, seconds: int) -> NoReturn:
    where = f" at {coordinator}" if coordinator else ""
    print(
        f"error: after {seconds} s the job is not complete: --processes is {processes}, and not all of them "
        f"have met{where}. Start {processes}, with --process-id 0 to {processes - 1} where the platform does "
        "not number them, and see that each can reach process 0",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _exchange(text: str) -> list[str]:
    """What each process says, at most 4,000 bytes."""
    said = np.zeros(4_000, np.uint8)
    data = text.encode()[: len(said)]
    said[: len(data)] = np.frombuffer(data, np.uint8)
    return [bytes(row).rstrip(b"\0").decode(errors="replace") for row in _gather(said)]


def _gather(value: np.ndarray) -> np.ndarray:
    """The value of each process, by its number."""
    return value[None] if jax.process_count() == 1 else multihost_utils.process_allgather(value)
