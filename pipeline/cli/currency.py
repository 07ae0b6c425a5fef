"""Whether the scores in ``results/`` are those of the present settings and artefacts.

`evaluate` leaves their provenance beside them. What is compared costs no computation: settings by
value, artefacts by the checksums that they carry. Raw data and code are DVC's to compare.
"""

from pathlib import Path

from pipeline.ground import provenance, runs
from pipeline.ground.errors import PipelineError


def doubts(results: Path) -> list[str]:
    """What speaks against it, a line each; none where the scores are current."""
    scores, made = results / "metrics.json", results / provenance.FILE
    found = []
    if not made.is_file():
        found.append(f"{made}: missing, so nothing says what they come from, run `dvc repro`")
    try:
        provenance.require(results)
    except PipelineError as error:
        found.append(str(error))
    began = runs.unfinished(scores.stat().st_mtime) if scores.is_file() else []
    if began:
        found.append(
            f"{scores}: since then `{began[0]}` began and has not ended well"
            f"{f', nor {len(began) - 1} others' if began[1:] else ''}, run `dvc repro`"
        )
    return found
