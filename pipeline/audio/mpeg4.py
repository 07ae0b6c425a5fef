"""MPEG-4 files (mp4, m4a, mov): ffmpeg takes their audio out, since libsndfile reads none of them.

`pipeline.audio.containers` calls `take_out`. ffmpeg is no dependency: whoever has no such file
needs none.
"""

import re
import shutil
import subprocess

from pipeline.audio.recording import Recording, RejectedError
from pipeline.ground.errors import PipelineError

# The format is told and not guessed, and nothing but the file itself is opened.
_INPUT = ("-nostdin", "-v", "error", "-protocol_whitelist", "file", "-f", "mov", "-i")
_OUTPUT = ("-map", "0:a:0", "-c:a", "pcm_f32le", "-bitexact", "-f", "wav", "pipe:1")


def is_mpeg4(head: bytes) -> bool:
    """Whether a file begins with the box by which MPEG-4 files are known."""
    return head[4:8] == b"ftyp"


def take_out(recording: Recording) -> None:
    """Put a WAV file of the first audio track, as 32-bit floats, in the place of the bytes read.

    Raises:
        RejectedError: ``undecodable``, ffmpeg gave up or found no audio; ``damaged``, it read on
            past an error.
        PipelineError: There is no ffmpeg. What can be read must not follow from the machine.
    """
    path = recording.path
    if not (ffmpeg := shutil.which("ffmpeg")):
        raise PipelineError(
            f"{path}: MPEG-4, which ffmpeg reads, but there is none on the PATH, install it or "
            "convert it to WAV"
        )
    command = [ffmpeg, *_INPUT, f"file:{path}", *_OUTPUT]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    recording.require_same()
    # Without the place in memory of what speaks, another one in each run.
    told = re.sub(r"\[[^]]* @ 0x\w+\] ", "", done.stderr.decode("utf-8", "replace")).strip()
    told = told.partition("\n")[0] or "no reason given"
    if done.returncode or not done.stdout:
        raise RejectedError(path, "undecodable", f"ffmpeg: {told}")
    if done.stderr:
        raise RejectedError(path, "damaged", f"ffmpeg: {told}")
    recording.mend(0, done.stdout, recording.size)
