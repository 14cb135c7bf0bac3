"""Train, evaluate and report: `python -m gcnxmodal.train [PRESET] [--field.path VALUE ...]`."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from tensorboardX import SummaryWriter

from gcnxmodal.console import TrainingDisplay, results_table, say
from gcnxmodal.errors import InputError
from gcnxmodal.experiments import PRESETS
from gcnxmodal.experiments.config import Experiment, validate
from gcnxmodal.experiments.corpora import load_corpus
from gcnxmodal.experiments.finish import finish
from gcnxmodal.experiments.run_folder import RunFolder
from gcnxmodal.experiments.system import DROPOUT, System, build
from gcnxmodal.retrieval.evaluate import standard_map
from gcnxmodal.training.checkpoint import Checkpoints
from gcnxmodal.training.interrupt import Interrupt
from gcnxmodal.training.loop import Diverged, Interrupted, train
from gcnxmodal.training.state import TrainState

DEFAULT_PRESET = "gin-emoji"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """An experiment, and where and how to run it."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Experiment)
    run_dir: Path | None = None
    """Folder of the run; by default runs/PRESET-seedS."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in the folder, from its newest checkpoint."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the run in the folder."""


def parse(arguments: list[str]) -> tuple[str, Arguments]:
    """Preset and arguments of a command line; without a preset, the default one."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = [DEFAULT_PRESET, *arguments]
    parsed = tyro.extras.overridable_config_cli(
        {name: (summary, Arguments(experiment)) for name, (summary, experiment) in PRESETS.items()},
        prog="python -m gcnxmodal.train",
        description=(
            "Train a cross-modal retriever, evaluate it under every protocol and write a report. Without a "
            f"PRESET: {DEFAULT_PRESET}. `PRESET --help` lists the values that can be changed."
        ),
        args=arguments,
    )
    return arguments[0], parsed


def run(preset: str, arguments: Arguments) -> RunFolder:
    """Do what the command line says; returns the finished run.

    Raises:
        InputError: for what the user can mend, before anything is computed or written.
        Interrupted: after saving, on SIGTERM or SIGINT.
        Diverged: when the loss is not a number.
    """
    experiment = arguments.experiment
    validate(experiment)
    folder = RunFolder(arguments.run_dir or Path("runs") / f"{preset}-seed{experiment.seed}")
    folder.check(experiment, resume=arguments.resume, overwrite=arguments.overwrite)
    corpus = load_corpus(experiment.data, experiment.text)
    system = build(experiment, corpus)
    say(describe(system))
    if not arguments.resume:
        folder.start(preset, experiment, overwrite=arguments.overwrite)

    checkpoints = Checkpoints(folder.checkpoints, system.fingerprint(), report=say)
    state = system.initial_state()
    if arguments.resume and (restored := checkpoints.restore(state)):
        state, step = restored
        say(f"resuming at step {step:,} (epoch {step // system.steps_per_epoch + 1})")
    folder.rewind(int(state.step) // system.steps_per_epoch)
    state, compile_seconds = _train(system, state, checkpoints, folder)
    checkpoints.close()
    results = finish(system, state.params, folder, preset, compile_seconds)
    say("\n" + results_table(preset, results) + f"\n\nreport: {folder.report}")
    return folder


def _train(
    system: System, state: TrainState, checkpoints: Checkpoints, folder: RunFolder
) -> tuple[TrainState, float]:
    experiment = system.experiment
    display = TrainingDisplay(
        experiment.epochs, system.steps_per_epoch, system.pairs_per_step, int(state.step)
    )
    corpus = system.inputs.corpus
    test = corpus.splits["test"]

    with SummaryWriter(str(folder.tensorboard)) as board, Interrupt() as interrupt:

        def on_epoch(epoch: int, state: TrainState, metrics: dict[str, float], seconds: float) -> None:
            line: dict[str, Any] = {"epoch": epoch + 1, "step": int(state.step), **metrics}
            line["seconds"] = seconds
            line["pairs_per_second"] = system.steps_per_epoch * system.pairs_per_step / seconds
            if experiment.evaluate_every and (epoch + 1) % experiment.evaluate_every == 0:
                line["standard"] = standard_map(*system.embed(state.params, test), corpus.labels[test])
            folder.append_metrics(line)
            display.epoch(line)
            for name in (*metrics, "pairs_per_second"):
                board.add_scalar(name, line[name], line["step"])
            for name, value in line.get("standard", {}).items():
                board.add_scalar(f"standard/{name}", value, line["step"])

        try:
            return train(
                state,
                system.data,
                system.step(),
                system.plan,
                system.key(DROPOUT),
                epochs=experiment.epochs,
                steps_per_epoch=system.steps_per_epoch,
                checkpoints=checkpoints,
                checkpoint_every=experiment.checkpoint_every,
                on_progress=display.progress,
                on_epoch=on_epoch,
                interrupt=interrupt,
            )
        finally:
            display.close()


def describe(system: System) -> str:
    """What is about to be trained, in a few lines."""
    corpus, graph = system.inputs.corpus, system.inputs.graph_report
    parameters = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(system.initial_state).params))
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in corpus.splits.items())
    wordless = graph["documents_without_a_word"]
    return "\n".join(
        [
            f"{corpus.provenance['source']}: {sizes} items, {len(corpus.class_names)} classes, "
            f"image features {system.inputs.images.shape[1]}",
            f"word graph: {graph['words']:,} words ({graph['words_with_vector']:,} with a vector), "
            f"{graph['edges']:,} edges"
            + (f"; {wordless:,} documents have no vocabulary word and are kept" if wordless else ""),
            f"model: {parameters:,} parameters; an epoch is {system.steps_per_epoch:,} steps of "
            f"{system.pairs_per_step:,} pairs; on {jax.device_count()} x {jax.devices()[0].device_kind}",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code: 0 done, 1 a fault, 2 bad arguments or data, 128 + n stopped by signal n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    preset, parsed = parse(arguments)
    try:
        run(preset, parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        again = [argument for argument in arguments if argument not in ("--overwrite", "--resume")]
        say(f"stopped, saved at step {stop.step:,}. To go on:")
        say(f"  python -m gcnxmodal.train {shlex.join([*again, '--resume'])}")
        return 128 + stop.signal
    except KeyboardInterrupt:
        print("stopped before training began; nothing was saved", file=sys.stderr)
        return 130
    except Diverged as stop:
        print(
            f"error: the loss is not a number at step {stop.step:,}. The checkpoints up to the epoch before "
            "are good. Try a smaller --train.learning-rate, --data.image-scale standard, or "
            "--text.weighting log1p.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
