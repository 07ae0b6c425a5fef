"""cluster: the frames of a fold become units, at every scale.

Between `frames`, which embeds the fold's train and dev clips, and `retrain`, which predicts the
units. Centroids are fitted on training clips alone; dev clips get units for early stopping.
"""

from typing import Annotated

import typer
from pydantic import Field, field_validator

from pipeline.audio import formats
from pipeline.corpora import manifest
from pipeline.encoders import layout
from pipeline.encoders.layers import Layer
from pipeline.ground.files import publish, write_json
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run, runtime
from pipeline.splits import folds
from pipeline.units import phones

Scale = Annotated[int, Field(ge=2, le=1_000_000)]


class ClusterParams(Section):
    """The ``cluster`` section: how many centroids, and what they are fitted on."""

    scales: Annotated[list[Scale], Field(min_length=1)]
    sample: Annotated[int, Field(ge=1, le=1_000_000_000)]
    iterations: Annotated[int, Field(ge=1, le=1000)]

    @field_validator("scales")
    @classmethod
    def _ascend(cls, scales: list[int]) -> list[int]:
        if scales != sorted(set(scales)):
            raise ValueError("ascending, each scale once")
        return scales


def main(fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")]) -> None:
    """Fit one fold's codebooks and write the units of its train and dev clips."""
    from pipeline.embeddings.reader import Embeddings
    from pipeline.units import kmeans, nearest, sampling
    from pipeline.units.codebooks import save_codebooks, write
    from pipeline.units.tally import Tally

    params, seed = load("cluster", ClusterParams), load("seed", int)
    layer: Layer = load("frames.layer", Layer)  # type: ignore[arg-type]
    device = nearest.pick_device(runtime().device)
    corpora = load("corpora", list[str])
    path = manifest.ARTIFACTS / "frames" / f"{fold}.h5"
    keys = ("seed", "numerics_version", "corpora", "frames", "cluster")
    target = manifest.ARTIFACTS / "units" / str(fold)
    made = Provenance.of(target, keys, [*manifest.folders(corpora), folds.FOLDS, path])
    roles = folds.read(fold)
    clips = [c for c in manifest.read(corpora) if roles.get(c.clip) in ("train", "dev")]
    with Embeddings(path, f"multitask/{fold}", clips) as frames, publish(target) as out:
        trained = {clip.clip for clip in clips if roles[clip.clip] == "train"}
        total = min(params.sample, kmeans.needed(params.scales))
        drawn = frames, layer, trained, total, seed
        how = params.scales, params.iterations, seed
        if device == "cpu":
            codebooks = kmeans.fit(sampling.draw(*drawn), *how)
        else:
            from pipeline.units import lloyd
            from pipeline.work.device import within_memory

            with within_memory(device, "cluster.sample"):
                codebooks = lloyd.fit(sampling.draw_on(device, *drawn), *how)
        first_s = layout.FIELD_SAMPLES / 2 / formats.SAMPLE_RATE_HZ
        spoken = phones.frames(
            phones.read(corpora), frames.clips, frames.offsets, frames.hop_s, first_s
        )
        tally = Tally(codebooks, clips, roles, frames.offsets, spoken)
        out.mkdir()
        save_codebooks(out / "codebooks.safetensors", codebooks)
        with write(out / "units.h5", frames.clips, frames.offsets, params.scales) as units:
            for rows, found in nearest.assign(frames, layer, codebooks, device):
                units.append({scale: numbers for scale, (_, numbers) in found.items()})
                tally.add(rows, found)
        tally.require_used()
        write_json(out / "report.json", tally.report())
        made.write(out)


if __name__ == "__main__":
    run(main)
