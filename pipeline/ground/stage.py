"""How every stage starts and ends: threads, signals, one-line errors.

This module is imported before torch, NumPy or faiss, since OpenMP and BLAS read their thread
settings once, when they load.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from pydantic import Field

from pipeline.ground import code, ending, runs
from pipeline.ground.errors import PipelineError, reason, remedy
from pipeline.ground.files import AHEAD, LOCKS, digest
from pipeline.ground.locks import locked
from pipeline.ground.params import Section, load

# Of `pipeline.ground.launch.start`, which imports from this room.
Elsewhere = Callable[[str, "Runtime", str, Sequence[str]], bool]


class Runtime(Section):
    """Where and how fast a stage runs; no stage's output is keyed by it."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    threads: Annotated[int, Field(ge=1, le=256)]
    workers: Annotated[int, Field(ge=0, le=256)]
    micro_batch_s: Annotated[float, Field(gt=0, le=86_400)] | Literal["auto"]
    gradient_checkpointing: bool
    deterministic: bool
    launcher: str
    engine: Literal["processes", "ray"]
    address: Annotated[str, Field(pattern=r"^(\S+:\d{1,5})?$")]
    mixed: Literal["refuse", "skip"]
    ahead: bool

    def alone(self) -> "Runtime":
        """That of a run ahead of its turn: one process on one place of a cluster."""
        alone = {"workers": 0, "engine": "processes", "ahead": False}
        return self.model_copy(update=alone)

    def require_places(self) -> None:
        """Stop where runs ahead of their turn would have no places, or would share one.

        Raises:
            PipelineError: There is no Ray, or a launcher, or one GPU is named for all.
        """
        asked = {
            "runtime.engine to ray": self.engine != "ray",
            'runtime.launcher to ""': self.launcher != "",
            "runtime.device to cuda": ":" in self.device,
        }
        if wrong := [remedy for remedy, is_asked in asked.items() if is_asked]:
            raise PipelineError(
                "params.yaml: runtime.ahead is true, where runs get places from Ray, one each: set "
                f"{' and '.join(wrong)}, or runtime.ahead to false"
            )


def runtime() -> Runtime:
    """The ``runtime`` section."""
    found = load("runtime", Runtime)
    if not found.ahead:
        return found
    found.require_places()
    return found.alone() if AHEAD in os.environ else found


def set_threads(threads: int) -> None:
    """Fix the thread count of OpenMP and BLAS for this process and its children.

    Waiting threads sleep: a spinning one starves its neighbours on a busy machine (measured: a
    two-thread torch is 15 times slower with one of two cores busy).
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ["GOMP_SPINCOUNT"] = "0"
    # cuBLAS needs a fixed workspace to give the same bytes twice.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def keep_few_plans() -> None:
    """Have oneDNN keep what it compiled for the last few lengths of clips, not for 1,024 shapes.

    Those take 150 MB and more; a length that comes again is compiled again. Before the first clip.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def run(main: Callable[..., None], elsewhere: Elsewhere | None = None) -> None:
    """Run a stage's command: ``if __name__ == "__main__": run(main)``.

    ``elsewhere`` (`pipeline.ground.launch.start.elsewhere`) may have it run by another program: it
    gets what the stage is called, ``runtime``, its module and its arguments, and tells whether it
    did.

    Exit status: 0 done, 1 a `PipelineError` or the operating system's refusal (one line on stderr),
    130 interrupted, 143 terminated. Outputs are untouched unless it is 0, or a signal came after
    they were published. A second run of the same command beside the first is refused.
    """
    ending.take_signals()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(_with_threads(main, elsewhere))
    try:
        app(standalone_mode=False)
    except PipelineError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{_stage(main)}: {_describe(error)}", 1)
    except MemoryError:
        _fail(_out_of_memory(main), 1)
    except Exception as error:
        if "can't allocate memory" in str(error):  # torch's word for it, on the CPU
            _fail(_out_of_memory(main), 1)
        # Typer's own usage errors know how to show themselves and their exit status.
        if refused := re.search(r"os error (\d+)", str(error)):
            # What safetensors, which knows no OSError, says of a full disk.
            _fail(f"{_stage(main)}: {_describe(OSError(int(refused[1]), ''))}", 1)
        if not hasattr(error, "exit_code"):
            raise
        getattr(error, "show", lambda: None)()
        sys.exit(error.exit_code)


def resume_key(stage: str, params: object, inputs: object, parser: str = "") -> object:
    """What determines a stage's output, as the key of its scratch folder."""
    made_by = code.digest(stage, parser)
    return {"stage": stage, "code": made_by, "params": params, "inputs": inputs}


def _with_threads(
    main: Callable[..., None], elsewhere: Elsewhere | None = None
) -> Callable[..., None]:
    import functools
    import inspect

    options = inspect.signature(main).parameters

    @functools.wraps(main)
    def command(*args: object, **kwargs: object) -> None:
        settings, began_s, stage = runtime(), time.monotonic(), _stage(main)
        set_threads(settings.threads)
        given = [f"--{n} {v}" for n, v in kwargs.items() if v != options[n].default]
        told = " ".join([stage, *given])
        if elsewhere and elsewhere(told, settings, f"stages.{stage}", sys.argv[1:]):
            return
        # Processes that were launched together are one run.
        rank = os.environ.get("RANK", "0")
        name = told if rank == "0" else f"{told} {rank}"
        with locked(LOCKS / digest(name), name):
            if rank == "0":
                runs.begin(told)
            require_current_code(stage, str(kwargs.get("corpus", "")))
            main(*args, **kwargs)
            ending.ignore_signals()  # all is published
        if rank == "0":
            runs.record(told, time.monotonic() - began_s)

    return command


def _stage(main: Callable[..., None]) -> str:
    # Run by `python -m`, its module is called __main__.
    return Path(main.__code__.co_filename).stem


def require_current_code(stage: str, corpus: str = "") -> None:
    """Stop before DVC is told that old code made what new code makes.

    `dvc repro` brings ``code.yaml`` up to date first; `dvc repro -s` and a start by hand do not.

    Raises:
        PipelineError: Its key there has another digest.
    """
    if stage in code.WITHOUT or not code.FILE.is_file():
        return
    key = code.key_of(stage, corpus)
    parser = load(f"corpus.{corpus}.parser", str) if key != stage else ""
    told = code.recorded(code.FILE.read_text("utf-8", "replace"))
    if told.get(key) != code.digest(stage, parser):
        raise PipelineError(
            f"{code.FILE}: {key} has the digest of other code than lies here, run `dvc repro code`"
        )


def _out_of_memory(main: Callable[..., None]) -> str:
    return (
        f"{_stage(main)}: out of memory, lower runtime.micro_batch_s, runtime.workers or the "
        "widths in params.yaml"
    )


def _describe(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{reason(error)}, old outputs are untouched: {remedy(error)}"


def _fail(message: str, status: int) -> NoReturn:
    ending.ignore_signals()
    _say(message)
    sys.exit(status)


def _say(message: str) -> None:
    line = " ".join(message.split())
    # The place is at its beginning, the remedy at its end; between them a value may be any length.
    shown = line if len(line) <= 1000 else f"{line[:700]} ... {line[-295:]}"
    print(shown, file=sys.stderr, flush=True)
