"""Recordings judged by the workers of a cluster, which see neither them nor the classifier.

Between `pipeline.inference.listening` and ``ser predict``, in a project whose engine is ray.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE
from pipeline.inference import judge, searching
from pipeline.inference.cluster.hearing import Asked, Sent, listener
from pipeline.inference.listening import Manner
from pipeline.inference.timeline.opinions import Heard
from pipeline.methods import features
from pipeline.methods.features import Features
from pipeline.work.cluster import remote
from pipeline.work.cluster.worker import Task


def spread(asked: Asked, files: Sequence[Path], manner: Manner) -> Iterator[Heard | PipelineError]:
    """Yield what was heard of each file, or why it was not, in order.

    Raises:
        PipelineError: As `remote.spread`.
    """
    from pipeline.work.device import select

    luggage = [PARAMS_FILE, asked.folder]
    if (asked.folder / features.FILE).is_file():
        luggage.append(Path(Features.read(asked.folder).encoder))
    # A worker sees the GPU that it was given, and no other: it has no number.
    device = select(asked.device or judge.own_device(asked.folder)).type
    task = Task(listener, (replace(asked, device=device), manner), tuple(luggage), device)
    return remote.spread(task, files, _content)


def _content(file: Path) -> Sent:
    if file == searching.STDIN:
        return file, sys.stdin.buffer.read()
    try:
        searching.require_file(file)
        return file, file.read_bytes()
    except PipelineError as error:
        return file, error
    except OSError as error:
        return file, PipelineError(f"{file}: {error.strerror}, mend this and run it again")
