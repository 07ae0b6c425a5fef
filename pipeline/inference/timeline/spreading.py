"""Recordings judged by the workers of a cluster, which see neither them nor the classifier.

Between `pipeline.inference.listening` and ``ser predict``, in a project whose engine is ray.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE
from pipeline.inference import answers, judge, listening, searching
from pipeline.inference.listening import Manner
from pipeline.inference.timeline.opinions import Heard
from pipeline.methods import features
from pipeline.methods.features import Features
from pipeline.work.cluster import remote
from pipeline.work.cluster.luggage import unpacked
from pipeline.work.cluster.worker import Task


@dataclass(frozen=True)
class Asked:
    """A classifier of the project, and what is asked of it: the options of ``ser predict``."""

    folder: Path
    device: str
    backend: str
    classes: str
    sure: float | None


def spread(asked: Asked, files: Sequence[Path], manner: Manner) -> Iterator[Heard | PipelineError]:
    """Yield what was heard of each file, or why it was not, in order.

    Raises:
        PipelineError: As `remote.spread`.
    """
    luggage = [PARAMS_FILE, asked.folder]
    if (asked.folder / features.FILE).is_file():
        luggage.append(Path(Features.read(asked.folder).encoder))
    device = asked.device or judge.own_device(asked.folder)
    task = Task(listener, (asked, device, manner), tuple(luggage), _plain(device))
    return remote.spread(task, files, _content)


def listener(
    asked: Asked, device: str, manner: Manner
) -> Callable[[tuple[Path, bytes | PipelineError]], Heard | PipelineError]:
    """What listens to a file that was read elsewhere, on a worker of a cluster."""
    folder = unpacked(asked.folder)
    opinion = judge.load(folder, _plain(device), asked.backend)
    opinion, _, _ = answers.asked(folder, opinion, asked.classes, asked.sure)

    def listen(sent: tuple[Path, bytes | PipelineError]) -> Heard | PipelineError:
        file, content = sent
        if isinstance(content, PipelineError):
            return content
        with tempfile.NamedTemporaryFile(prefix="ser-") as place:
            place.write(content)
            place.flush()
            try:
                sound = listening.recorded(Path(place.name), file)
                return listening.heard(opinion, file, sound, manner)
            except PipelineError as error:
                return error

    return listen


def _plain(device: str) -> str:
    """A worker sees the GPU that it was given, whose number is 0."""
    from pipeline.work.device import select

    return select(device).type


def _content(file: Path) -> tuple[Path, bytes | PipelineError]:
    if file == searching.STDIN:
        return file, sys.stdin.buffer.read()
    try:
        searching.require_file(file)
        return file, file.read_bytes()
    except PipelineError as error:
        return file, error
    except OSError as error:
        return file, PipelineError(f"{file}: {error.strerror}, mend this and run it again")
