"""Why a test may be left out: all the reasons there are, each by how it begins.

Where ``CI`` is true, any other skip fails the test: what is meant to run there and does not is
noticed.
"""

import os

NO_GPU = "needs a GPU"
NO_SLURM = "needs Slurm"
ALLOWED = (
    NO_GPU,
    NO_SLURM,
    "faiss sees no GPU here",
    "no ffmpeg",
    "needs chromium",
    "no real corpora here",
    "this CPU has no AVX2",
    "needs the extra s3",
    "needs the extra ssh",
    "needs moto[server]",
    "could not import 'onnxruntime'",
    "could not import 'onnxscript'",
    "could not import 'silero_vad'",
    "the extra opensmile is not installed",
    "minutes of installing",
    "minutes of the web",
    "it writes no more than the line that it says",  # test_limits: there is nothing to cut
)


def refused(reason: str) -> bool:
    """Whether a test that was skipped for ``reason`` fails here."""
    return os.environ.get("CI") == "true" and not reason.startswith(ALLOWED)
