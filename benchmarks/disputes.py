"""How many of the first named are wrong, where labels were swapped on purpose.

One label in twenty is changed to another class, a linear classifier (`pipeline.methods.linear` on
the means and deviations of 40 log mel bands) learns the swapped labels speaker by speaker, and what
confident learning names first on the held-out utterances is compared with what was swapped.

    python -m benchmarks.disputes                              # the demo's voices
    python -m benchmarks.disputes /path/to/emodb --parser emodb
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import voices
from pipeline.audio.decoding import decode
from pipeline.corpora import registry
from pipeline.corpora.manifest import EMOTIONS
from pipeline.encoders.frontends import Fbank
from pipeline.metrics import disputes
from pipeline.metrics.arrays import Floats, Ints
from pipeline.metrics.recalls import confusion, uar

SWAPPED = 0.05
FOLDS = 5


def main(
    corpus: Annotated[Path | None, typer.Argument(help="A corpus' folder; else the demo.")] = None,
    parser: Annotated[str, typer.Option(help="What reads the folder.")] = "emodb",
    swaps: Annotated[int, typer.Option(help="How often labels are swapped anew.")] = 10,
) -> None:
    """Print the precision among the first 5 % named, its chance, and the recall."""
    inputs, labels, speakers, classes = read(corpus, parser) if corpus else spoken(16, 4)
    found = np.array([measured(inputs, labels, speakers, seed) for seed in range(swaps)])
    first = round(SWAPPED * len(labels))
    clean = uar(confusion(labels, held_out(inputs, labels, speakers).argmax(1), len(classes)))
    print(
        f"{len(labels)} utterances of {len(set(speakers))} speakers, {len(classes)} classes, "
        f"UAR with right labels {clean:.3f}; {first} swapped, {swaps} times\n"
        f"of the first {first} named {found[:, 0].mean():.2f} were swapped "
        f"({found[:, 0].min():.2f} to {found[:, 0].max():.2f}), by chance {SWAPPED:.2f}; "
        f"{found[:, 1].mean():.2f} of those swapped are among all that is disputed "
        f"({found[:, 2].mean():.2f} of the utterances)"
    )


def measured(inputs: Floats, labels: Ints, speakers: Sequence[str], seed: int) -> list[float]:
    """Precision among the first 5 % named, recall of all disputed, and their share."""
    rng, count = np.random.default_rng(seed), round(SWAPPED * len(labels))
    swapped = rng.permutation(len(labels))[:count]
    given, classes = labels.copy(), labels.max() + 1
    given[swapped] = (labels[swapped] + rng.integers(1, classes, count)) % classes
    named = disputes.find(held_out(inputs, given, speakers), given).ranked()
    wrong = set(swapped.tolist())
    return [
        len(wrong & set(named[:count])) / count,
        len(wrong & set(named)) / count,
        len(named) / len(labels),
    ]


def held_out(inputs: Floats, labels: Ints, speakers: Sequence[str]) -> Floats:
    """Probabilities of each utterance by a classifier that did not hear its speaker."""
    who = np.unique(speakers, return_inverse=True)[1]
    told = np.zeros((len(labels), labels.max() + 1))
    for fold in range(FOLDS):
        tested = who % FOLDS == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        model.fit(inputs[~tested], labels[~tested])
        told[np.ix_(tested, model[-1].classes_)] = model.predict_proba(inputs[tested])
    return told


def spoken(speakers: int, takes: int) -> tuple[Floats, Ints, list[str], list[str]]:
    """The demo's synthetic voices, in every emotion."""
    said = voices.cast(speakers, takes)
    front = _front()
    inputs = [pooled(front.frames(voices.samples(pcm))) for pcm, _ in voices.heard(1, said, front)]
    labels = np.array([EMOTIONS.index(one.emotion) for one in said])
    return np.stack(inputs), labels, [str(one.speaker) for one in said], list(EMOTIONS)


def read(corpus: Path, parser: str) -> tuple[Floats, Ints, list[str], list[str]]:
    """A corpus as its authors ship it: of each file its inputs, class and speaker."""
    rows = [row for row in registry.parse(parser, corpus).rows if row.emotion]
    classes = sorted({row.emotion for row in rows})
    front = _front()
    inputs = [pooled(front.frames(decode(corpus / row.source)[0])) for row in rows]
    labels = np.array([classes.index(row.emotion) for row in rows])
    return np.stack(inputs), labels, [row.speaker for row in rows], classes


def pooled(frames: npt.NDArray[np.float32]) -> Floats:
    """Means and deviations over time."""
    found: Floats = np.concatenate([frames.mean(0), frames.std(0)]).astype(np.float64)
    return found


def _front() -> Fbank:
    return Fbank(kind="fbank", bands=40, window_ms=25.0, hop_ms=10.0, high_hz=8000.0)


if __name__ == "__main__":
    typer.run(main)
