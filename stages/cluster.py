"""cluster: the frames of a fold become units, at every scale.

Between `frames`, which embeds the fold's train and dev clips, and `retrain`, which predicts the
units. Centroids are fitted on training clips alone; dev clips get units for early stopping.
"""

from typing import Annotated

import typer

from pipeline.audio import formats
from pipeline.corpora import manifest
from pipeline.encoders import layout
from pipeline.encoders.layers import Layer
from pipeline.ground.files import publish, write_json
from pipeline.ground.launch.ahead import ahead
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run, runtime
from pipeline.splits import folds
from pipeline.units import phones
from pipeline.units.scales import Iterations, Sample, Scales


class ClusterParams(Section):
    """The ``cluster`` section: how many centroids, and what they are fitted on."""

    scales: Scales
    sample: Sample
    iterations: Iterations


def main(fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")]) -> None:
    """Fit one fold's codebooks and write the units of its train and dev clips."""
    from pipeline.embeddings.reader import Embeddings
    from pipeline.units import nearest
    from pipeline.units.codebooks import save_codebooks
    from pipeline.units.fitting import Fitting, write_units
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
        how = Fitting(params.scales, params.sample, params.iterations, seed, "cluster.sample")
        codebooks = how.codebooks(frames, layer, trained, device)
        first_s = layout.FIELD_SAMPLES / 2 / formats.SAMPLE_RATE_HZ
        spoken = phones.frames(
            phones.read(corpora), frames.clips, frames.offsets, frames.hop_s, first_s
        )
        tally = Tally(codebooks, clips, roles, frames.offsets, spoken)
        out.mkdir()
        save_codebooks(out / "codebooks.safetensors", codebooks)
        # A GPU compares frames sooner than they could be sent.
        on_ray = device == "cpu" and runtime().engine == "ray"
        where = nearest.ON_RAY if on_ray else device
        write_units(out / "units.h5", frames, layer, codebooks, where, tally.add)
        tally.require_used()
        write_json(out / "report.json", tally.report())
        made.write(out)


if __name__ == "__main__":
    run(main, ahead)
