"""Inputs that another program writes while a stage reads them: it stops, and publishes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import safetensors.torch

from pipeline.audio.flac import read_clip, write_flac
from pipeline.corpora import manifest
from pipeline.encoders import encoder
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.provenance import Provenance
from pipeline.methods import linear
from pipeline.training import checkpoint
from pipeline.units import codebooks
from tests.faults import chain
from tests.faults.chain import Step

# `preprocess` looks at its sources itself; the others before `split` read nothing.
READERS = [step for step in chain.STEPS[4:] if step.command != "evaluate"] + [chain.STEPS[-1]]


def after_looking(change: Callable[[Path], None]) -> Callable[[], None]:
    """What `chain.run` prepares: ``change`` meets each input once a stage has looked at it."""

    def prepare() -> None:
        of = Provenance.of.__func__  # type: ignore[attr-defined]

        def looked(cls: Any, artefact: Path, keys: Any, inputs: Any) -> Provenance:
            paths = list(inputs)
            made: Provenance = of(cls, artefact, keys, paths)
            for path in paths:
                change(path)
            return made

        Provenance.of = classmethod(looked)  # type: ignore[assignment, method-assign]

    return prepare


def with_another_manifest(path: Path) -> None:
    """The text of another run takes the place of a corpus' manifest, with its checksum."""
    if path.parent == manifest.CLIPS:
        text = (path / "manifest.csv").read_text("utf-8")
        (path / "manifest.csv").write_text(text.replace(",female,", ",unknown,"), "utf-8")
        files._write_sums(path)


def checked_out(path: Path) -> None:
    """Each file is replaced by a copy of itself, but for what has no checksum of its content."""
    copied = [path] if path.is_file() else [*path.glob("*.json"), *path.glob("*.csv")]
    for file in copied:
        file.with_name("copy").write_bytes(file.read_bytes())
        file.with_name("copy").replace(file)


@pytest.mark.parametrize("step", READERS, ids=lambda step: step.name)
def test_an_input_that_changes_after_it_was_looked_at_stops_the_stage(
    copied: Path, step: Step
) -> None:
    before = chain.contents(copied, step)
    status, told = chain.run(copied, step, after_looking(with_another_manifest))
    assert (status, len(told.splitlines()[-1:])) == (1, 1)
    assert "artifacts/clips/demo/" in told.splitlines()[-1]
    assert "changed while it was read, wait until it is whole" in told.splitlines()[-1]
    assert chain.contents(copied, step) == before
    assert chain.leftovers(copied) == []


@pytest.mark.parametrize(
    "name", ["extract --fold", "finetune --task emotion --start pretrained", "evaluate"]
)
def test_an_input_that_is_checked_out_anew_meanwhile_is_the_same(copied: Path, name: str) -> None:
    step = chain.step_of(name)
    before = chain.contents(copied, step)
    status, told = chain.run(copied, step, after_looking(checked_out))
    assert status == 0, told
    assert chain.contents(copied, step) == before


def test_training_hears_the_clips_of_the_manifest_alone(copied: Path) -> None:
    """Another sound under a clip's name, a good file in itself."""
    for clip in (copied / "artifacts/clips/demo").rglob("*.flac"):
        write_flac(clip, read_clip(clip)[::-1])
    for name in ("multitask", "retrain", "finetune --task emotion --start retrained"):
        status, told = chain.run(copied, chain.step_of(name))
        assert status == 1
        assert told.splitlines()[-1].endswith("not the audio of the manifest, run `dvc repro`")


READ: list[tuple[str, str, Callable[[Path], object], Any]] = [
    (
        "artifacts/encoders/untrained/model.safetensors",
        "pipeline.encoders.encoder.load_file",
        lambda path: encoder.load(path.parent),
        safetensors.torch.load_file,
    ),
    (
        "artifacts/classifiers/emotion/retrained/full/0/model.safetensors",
        "pipeline.training.checkpoint.load_file",
        checkpoint.read,
        safetensors.torch.load_file,
    ),
    (
        "artifacts/classifiers/emotion/fbank/linear/0/model.safetensors",
        "pipeline.methods.linear.load_file",
        linear.load,
        safetensors.numpy.load_file,
    ),
    (
        "artifacts/units/0/codebooks.safetensors",
        "pipeline.units.codebooks.load_file",
        codebooks.read_codebooks,
        safetensors.numpy.load_file,
    ),
]


@pytest.mark.parametrize(
    ("name", "opened", "read", "load"), READ, ids=[str(one[0]) for one in READ]
)
def test_weights_that_change_between_the_hash_and_the_loading_are_refused(
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    opened: str,
    read: Callable[[Path], object],
    load: Any,
) -> None:
    monkeypatch.chdir(copied)
    path = Path(name)
    read(path)

    def swapped(file: Path) -> Any:
        """As good a file, with other numbers."""
        content = bytearray(path.read_bytes())
        length = 8 + int.from_bytes(content[:8], "little")
        content[length:] = content[length:][::-1]
        path.with_name("new").write_bytes(content)
        path.with_name("new").replace(path)
        return load(file)

    monkeypatch.setattr(opened, swapped)
    with pytest.raises(PipelineError, match=f"^{name}: changed while it was read"):
        read(path)
