"""``ser label CORPUS OUT``: the emotions of clips whose labels are withheld, for a challenge."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from pipeline.ground.errors import PipelineError


def main(
    corpus: Annotated[str, typer.Argument(help="A corpus of params.yaml, such as msp-podcast.")],
    out: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    classifier: Annotated[
        Path, typer.Option(help="Such as artifacts/classifiers/emotion/pretrained/full/0.")
    ],
) -> None:
    """Predict every clip of a corpus that has no label, as FileName,EmoClass.

    Of MSP-Podcast these are the files of Test3, and classes are written as its codes (A, S, ...).
    """
    from pipeline.ground import stage

    stage.set_threads(stage.runtime().threads)
    stage.keep_few_plans()
    from pipeline.cli.withheld import unlabelled
    from pipeline.corpora import manifest
    from pipeline.ground import files
    from pipeline.ground.params import load
    from pipeline.inference import judge

    if out.exists():
        raise PipelineError(f"{out}: exists, name another file or remove it")
    manifest.require_name(corpus)
    parser = load(f"corpus.{corpus}.parser", str)
    clips = unlabelled.of(manifest.read([corpus]))
    if not clips:
        raise PipelineError(
            f"{corpus}: every clip has a label, name a corpus whose authors keep some"
        )
    opinion = judge.load(classifier)
    named = unlabelled.codes(parser, opinion.classes)
    found = unlabelled.predict(opinion, clips)
    rows = [(unlabelled.file_name(parser, source), named[label]) for source, label in found]
    with files.publish(out.absolute()) as staged:
        files.write_csv(staged, unlabelled.HEADER, sorted(rows))
    counts = Counter(name for _, name in rows)
    told = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    typer.echo(f"{out}: {len(rows)} files, {told}")
