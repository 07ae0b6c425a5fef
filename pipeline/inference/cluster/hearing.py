"""What a worker of a cluster does of ``ser predict``: it judges what was read elsewhere."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.ground.errors import PipelineError
from pipeline.inference import answers, judge, listening
from pipeline.inference.listening import Manner
from pipeline.inference.timeline.opinions import Heard
from pipeline.work.cluster.luggage import unpacked

# A file by name and what it holds, or why it cannot be read.
Sent = tuple[Path, bytes | PipelineError]


@dataclass(frozen=True)
class Asked:
    """A classifier of the project, and what is asked of it: the options of ``ser predict``."""

    folder: Path
    device: str
    backend: str
    classes: str
    sure: float | None


def listener(asked: Asked, manner: Manner) -> Callable[[Sent], Heard | PipelineError]:
    """What listens to a file."""
    folder = unpacked(asked.folder)
    opinion = judge.load(folder, asked.device, asked.backend)
    opinion, _, _ = answers.asked(folder, opinion, asked.classes, asked.sure)

    def listen(sent: Sent) -> Heard | PipelineError:
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
