"""``ser``: what one does beside `dvc repro`; a sub-command's module is loaded when it is used."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, NoReturn

import typer

from pipeline.ground import code, ending
from pipeline.ground.errors import PipelineError, reason, remedy

# Sub-command: its module is `pipeline.cli.<name>` or as `ROOMS` has it, its function `main`.
COMMANDS = {
    "init": "Make a project of a folder of audio: labels.csv and params.yaml.",
    "doctor": "Print versions, devices and disk, and what is wrong with them.",
    "show": "Print a short table of what was measured, and where the pictures are.",
    "status": "Tell which stages would run again, and why.",
    "search": "Choose settings by their score on dev, by Optuna or from a grid.",
    "plan": "Tell what the active graph will need of disk and time.",
    "adopt": "Keep what an older version made, where results did not change.",
    "predict": "Tell the emotion of audio files.",
    "serve": "Serve a model over HTTP and WebSocket.",
    "label": "Predict what a corpus' authors keep the labels of, as a challenge wants it.",
    "web": "Serve a page for a browser: drop, record, play, download.",
    "export": "Write a classifier as a model that needs no project, with its card.",
    "push": "Upload an exported model to the hub.",
    "preset": "Turn params.yaml into one of the published systems.",
    "ablation": "Print experiments as the ablation tables of GMP-ATL.",
    "curve": "Print what more training speakers bring, from experiments on shares of them.",
    "compare": "Test whether one experiment is better than another.",
    "parameters": "Count what each method trains, block by block.",
    "cache": "List cached embeddings, check every byte, clear unfinished work.",
    "encoder": "Pin a published encoder: its commit and checksum.",
}
ROOMS = {
    "plan": "ahead.plan",
    "search": "ahead.search",
    "doctor": "start.doctor",
    "init": "start.init",
    "label": "withheld.label",
    "encoder": "hub.encoder",
    "push": "hub.push",
    "serve": "served.serve",
    "web": "served.web",
    "ablation": "studies.ablation",
    "curve": "studies.curve",
}
# What needs no clone of the project around the package: all that an installed wheel has.
ANYWHERE = ("predict", "push", "serve", "web")

# DVC and what it is made of: their errors have no common kind, some are Python's own.
_DVC = {"dvc", "dvc_data", "dvc_objects", "scmrepo", "dulwich", "pygit2", "git"}
_ROOT = "run it in the project's root"
_REMEDIES = {
    "NotDvcRepoError": _ROOT,
    "SCMError": _ROOT,
    "LockError": "wait until the other one is done and run it again",
}


def app(arguments: Sequence[str] | None = None) -> None:
    """The entry point: one line on stderr and exit status 1 for what the user can mend.

    Ctrl-C and SIGTERM end the process by `ending`: 130, 143; not one that calls this by words.
    """
    if arguments is None:
        ending.take_signals()
        ending.collect_seldom()
    words = list(sys.argv[1:] if arguments is None else arguments)
    found = [word for word in _typed() or words if not word.startswith("-")][:1]
    cli = typer.Typer(
        help="What one does beside `dvc repro`.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    cli.callback()(_options)
    is_clone = (code.ROOT / "stages").is_dir()
    known = {name: text for name, text in COMMANDS.items() if is_clone or name in ANYWHERE}
    for name, text in known.items():
        chosen = [name] == found
        module = f".{ROOMS.get(name, name)}"
        command = importlib.import_module(module, __package__).main if chosen else _later
        cli.command(name, help=text if not chosen else None)(command)
    try:
        cli(words)
    except PipelineError as error:
        _fail(str(error))
    except OSError as error:
        place = error.filename or f"ser {' '.join(found)}"
        _fail(f"{place}: {reason(error)}, {remedy(error)}")
    except Exception as error:
        # Known by where it comes from: importing DVC takes as long as most commands.
        if not _is_of_dvc(error):
            raise
        told = str(error) if type(error).__module__ != "builtins" else repr(error)
        mend = _REMEDIES.get(type(error).__name__, "mend that (`git fsck`, `dvc status`)")
        _fail(f"dvc: {told}, {mend}")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ser {metadata.version('ser-pipeline')}")
        raise typer.Exit


def _is_of_dvc(error: Exception) -> bool:
    """Whether any of the packages that DVC is made of had a part in it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    places = [type(error).__module__, *(str(f.f_globals.get("__name__")) for f in frames)]
    return any(place.partition(".")[0] in _DVC for place in places)


def _fail(message: str) -> NoReturn:
    typer.echo(" ".join(message.split()), err=True)
    sys.exit(1)


def _typed() -> list[str]:
    """The words that a shell wants completed, as Typer's scripts for bash and for others give."""
    if "_SER_COMPLETE" not in os.environ:
        return []
    both = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
    return next((os.environ[name].split()[1:] for name in both if name in os.environ), [])


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Options of `ser` itself; what one does with it is a sub-command."""


def _later() -> None:
    """Stands for a sub-command that was not asked for."""


if __name__ == "__main__":
    app()
