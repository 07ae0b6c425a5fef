"""Embeds the clips of the project in the working directory: a process that a test may kill."""

import sys
from pathlib import Path

from pipeline.corpora import manifest
from pipeline.embeddings import extraction
from pipeline.embeddings.extraction import Job, Kept
from pipeline.ground import ending
from pipeline.ground.errors import PipelineError
from pipeline.ground.stage import runtime, set_threads

if __name__ == "__main__":
    ending.take_signals()
    set_threads(runtime().threads)
    extraction.SHARD_S = 1.0
    job = Job.prepare(Path("enc"), "small", Kept(["last"], "all", "fp32", "float16"))
    try:
        job.run(Path(sys.argv[1]), manifest.read(["tones"]))
    except PipelineError as error:
        sys.exit(str(error))
