"""HuBERT's pretraining (Hsu et al. 2021, section II), from nothing or from a published encoder.

Each round clusters frames of all clips, of cepstra first and then of a layer of the round before,
and trains an encoder from the start to predict the units of masked frames. From a published encoder
this is task-adaptive pretraining with pseudo-labels (P-TAPT, Chen and Rudnicky 2021). A killed run
goes on where it was: within an epoch, or after the units or the encoder that it finished last.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.embeddings.extraction import Job, Kept
from pipeline.embeddings.reader import Embeddings
from pipeline.encoders import encoder as encoders
from pipeline.encoders import layout
from pipeline.encoders.layers import Layer
from pipeline.gmp.continued import train_and_publish
from pipeline.gmp.masked_prediction import MaskedPrediction
from pipeline.gmp.recipe import MFCC, Recipe, Round
from pipeline.ground import files, locks, stage
from pipeline.ground.params import load
from pipeline.ground.progress import say
from pipeline.ground.provenance import Provenance
from pipeline.splits.task import everything
from pipeline.training.fit import Fit
from pipeline.training.masking import Spans
from pipeline.training.waves import Waves
from pipeline.units import nearest
from pipeline.units.codebooks import Units
from pipeline.units.fitting import Fitting, write_units
from pipeline.work.processes import join
from pipeline.work.seeds import derive

UNITS = "units.h5"


@dataclass(frozen=True)
class Pretraining:
    """One encoder to be pretrained: by what recipe, on which clips, from which encoder."""

    recipe: Recipe
    clips: Sequence[Clip]
    start: Path
    seed: int
    provenance: Provenance
    work: Path = field(init=False)

    def __post_init__(self) -> None:
        lists = {"encoders", "corpora", "folds"}
        kept = [self.recipe.model_dump(exclude=lists), self.seed]
        runtime = stage.runtime()
        computer = [runtime.threads, runtime.device, load("numerics_version", int)]
        inputs = [manifest.digest(self.clips), layout.weights_sha256(self.start), computer]
        key = stage.resume_key("pretrain", kept, inputs)
        object.__setattr__(self, "work", locks.scratch(key).absolute())

    def run(self, target: Path) -> None:
        """Follow the recipe, publish the encoder of the last round as ``target``.

        Raises:
            PipelineError: A clip or the start is damaged, there is no such layer, there are too
                few frames for a scale, or training diverges.
        """
        before, processes = self.start, join(stage.runtime().device)[0]
        for number, one in enumerate(self.recipe.rounds):
            last = number + 1 == len(self.recipe.rounds)
            made = target if last else self.work / f"encoder-{number}"
            if last or not made.is_dir():
                if processes.main:
                    say(f"round {number + 1} of {len(self.recipe.rounds)}: units of {one.frames}")
                units = processes.from_main(partial(self._units, number, one, before))
                self._train(number, one, units, made)
            before = made
        if processes.main:
            shutil.rmtree(self.work)
            locks.release(self.work)

    def _units(self, number: int, one: Round, before: Path) -> Path:
        """The units of every clip, from frames of the encoder that the round before made."""
        path = self.work / f"{number}-{UNITS}"
        if path.is_file():
            return path
        layer: Layer = "last" if one.frames == "mfcc" else one.frames
        folder, name = (self._front_end(), "mfcc") if one.frames == "mfcc" else (before, "before")
        precision = self.recipe.training.precision
        job = Job.prepare(folder, name, Kept([layer], [], precision, "float16"))
        embedded = self.work / "frames.h5"
        job.run(embedded, self.clips)
        seed = derive(self.seed, "units", number)
        how = Fitting(
            [one.units], self.recipe.sample, self.recipe.iterations, seed, "pretrain.sample"
        )
        device = nearest.pick_device(stage.runtime().device)
        with Embeddings(embedded, name, self.clips) as frames:
            books = how.codebooks(frames, layer, set(frames.clips), device)
            with files.publish(path) as staged:
                write_units(staged, frames, layer, books, device)
        embedded.unlink()
        job.discard()
        return path

    def _front_end(self) -> Path:
        folder = self.work / "mfcc"
        folder.mkdir(exist_ok=True)
        files.write_json(folder / layout.CONFIG, MFCC.model_dump())
        return folder

    def _train(self, number: int, one: Round, path: Path, target: Path) -> None:
        training = self.recipe.training
        seed = derive(self.seed, "round", number)
        body = encoders.load(
            self.start, training.freeze_conv, stage.runtime().gradient_checkpointing
        )
        inputs = [files.sha256(path), layout.weights_sha256(self.start)]
        fit = Fit.prepare("pretrain", training.of(one.epochs), seed, inputs, Waves(body))
        spans = Spans(training.mask_probability, training.mask_length)
        # Nothing is held out: the schedule leads to the last epoch, which is kept.
        found = everything(self.clips, {clip.clip: "train" for clip in self.clips})
        with Units(path) as units:
            model = MaskedPrediction(body, units.scales, units.units, spans, seed).to(fit.device)
            train_and_publish(fit, model, found, target, self.provenance)
