"""`gcnxmodal VERB ...`, the same as `python -m gcnxmodal.VERB ...`."""

import importlib
import sys

from gcnxmodal import __version__

VERBS = {
    "train": "train a preset, evaluate it and write a report",
    "search": "find pictures for a text, or texts for a picture, with a trained run",
    "evaluate": "measure a run again from its newest checkpoint",
    "export": "write a run's embeddings or codes, and its model, elsewhere",
    "sweep": "train many variants of a preset as one program",
    "features": "make image features of a folder of pictures",
    "tables": "make a table of one of the papers again",
    "figures": "make a figure of one of the papers again",
}
"""A verb is a module of the package with `main(arguments) -> exit code`."""

_HELP = """usage: gcnxmodal VERB [arguments]

{verbs}

  gcnxmodal VERB --help     what a verb takes
  gcnxmodal train --list    the presets
  gcnxmodal --version

Shell completion of verbs, presets and files, in ~/.bashrc or (after bashcompinit) ~/.zshrc:

  eval "$(gcnxmodal completion)\""""

_COMPLETION = """_gcnxmodal() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}} words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs}"
    elif [ "$COMP_CWORD" -eq 2 ] && {{ [ "$verb" = train ] || [ "$verb" = sweep ]; }}; then
        words="{presets}"
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [ -n "$words" ] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _gcnxmodal gcnxmodal"""


def help_text() -> str:
    """What `gcnxmodal --help` prints."""
    return _HELP.format(verbs="\n".join(f"  {verb:<10}{summary}" for verb, summary in VERBS.items()))


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the command `gcnxmodal`; the exit code is the verb's, 2 for a verb that is none."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text())
        return 0
    verb, *rest = arguments
    if verb == "--version" or (verb in VERBS and rest == ["--version"]):
        print(f"gcnxmodal {__version__}")
        return 0
    if verb == "completion":
        from gcnxmodal.systems import PRESETS  # which loads JAX: not for every verb

        print(_COMPLETION.format(verbs=" ".join(VERBS), presets=" ".join(PRESETS)))
        return 0
    if verb not in VERBS:
        print(f"error: there is no verb '{verb}'; there are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(f"gcnxmodal.{verb}").main(rest)
    except KeyboardInterrupt:  # while the verb's modules are imported
        print("stopped; the same command starts again", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
