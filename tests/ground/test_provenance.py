"""What an artefact carries of its making, and what contradicts it."""

import json
import re
from pathlib import Path

import h5py
import pytest

from pipeline.cli.preset import merged
from pipeline.ground import files, params, provenance
from pipeline.ground.errors import PipelineError
from pipeline.ground.provenance import Provenance
from pipeline.splits import folds

BASE = Path("artifacts/encoders/base")
NEXT = Path("artifacts/multitask/0")


def change(overlay: str) -> None:
    path = Path("params.yaml")
    path.write_text(merged(path.read_text("utf-8"), overlay), "utf-8")
    params.read.cache_clear()


def publish(folder: Path, content: str, *keys: str, inputs: tuple[Path, ...] = ()) -> None:
    made = Provenance.of(folder, keys, inputs)
    with files.publish(folder) as out:
        out.mkdir()
        (out / "model").write_text(content)
        made.write(out)


@pytest.fixture
def chain(project: Path) -> Path:
    """Two artefacts, the second made from the first."""
    publish(BASE, "one", "encoder.tiny", "seed")
    publish(NEXT, "two", "multitask", inputs=(BASE,))
    return project


def test_an_artefact_carries_the_parameters_of_all_that_led_to_it(chain: Path) -> None:
    found = files.read_json(NEXT / provenance.FILE)
    assert list(found["params"]) == ["encoder.tiny", "multitask", "seed"]
    assert found["params"]["multitask"] == params.load("multitask", object)
    assert list(found["inputs"]) == [str(BASE)]
    assert provenance.require(NEXT) == found["params"]


def test_the_order_of_keys_in_params_yaml_changes_no_byte(chain: Path) -> None:
    before = (NEXT / provenance.FILE).read_bytes()
    path = Path("params.yaml")
    text, old = path.read_text("utf-8"), "    blocks: 12\n    width: 128\n"
    assert old in text
    path.write_text(text.replace(old, "    width: 128\n    blocks: 12\n"), "utf-8")
    params.read.cache_clear()
    publish(BASE, "one", "seed", "encoder.tiny")
    publish(NEXT, "two", "multitask", inputs=(BASE,))
    assert (NEXT / provenance.FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("overlay", "told"),
    [
        ("multitask: {epochs: 7}", "multitask.epochs 2, params.yaml has 7"),
        ("encoder: {tiny: {width: 64}}", "encoder.tiny.width 128, params.yaml has 64"),
        ("seed: 4", "seed 1, params.yaml has 4"),
    ],
)
def test_a_parameter_that_changed_is_named_with_both_values(
    chain: Path, overlay: str, told: str
) -> None:
    change(overlay)
    with pytest.raises(PipelineError, match=f"^{NEXT}: made with {re.escape(told)}, run"):
        provenance.require(NEXT)


def test_what_no_longer_fits_its_own_input_is_refused(chain: Path) -> None:
    publish(BASE, "one", "encoder.tiny", "seed", "numerics_version")
    provenance.require(NEXT)  # equal content, whatever is said of it
    publish(BASE, "other", "encoder.tiny", "seed")
    with pytest.raises(PipelineError, match=f"^{NEXT}: made from another {BASE} than lies there"):
        provenance.require(NEXT)


def test_an_input_that_is_not_here_contradicts_nothing(chain: Path) -> None:
    (BASE / "model").unlink()
    (BASE / files.SUMS).unlink()
    assert provenance.require(NEXT)


def test_nothing_is_made_from_what_contradicts_the_parameters(chain: Path) -> None:
    change("encoder: {tiny: {width: 64}}")
    with pytest.raises(PipelineError, match=r"^artifacts/encoders/base: made with encoder\.tiny"):
        Provenance.of(NEXT, ["seed"], [BASE])


def test_a_file_carries_it_inside_or_beside(project: Path) -> None:
    made = Provenance.of(folds.FOLDS, ["split"], [])
    files.write_text(folds.FOLDS, "fold,clip,role\n")
    files.seal(folds.FOLDS)
    made.write(folds.FOLDS, beside=True)
    frames = Path("artifacts/frames.h5")
    with h5py.File(frames, "w") as file:
        file.attrs["provenance"] = Provenance.of(frames, ["frames"], []).text()
        file.attrs["width"] = 3
    # What lies beside is compared, and not taken over: it may change where the file does not.
    after = Provenance.of(NEXT, ["seed"], [frames, folds.FOLDS])
    assert list(after.params) == ["frames", "seed"] and all(after.inputs.values())
    change("{split: {count: 2}, frames: {layer: -2}}")
    with pytest.raises(PipelineError, match=r"folds.csv: made with split.count 4, params.yaml"):
        provenance.require(folds.FOLDS)
    with pytest.raises(PipelineError, match=r"frames.h5: made with frames.layer -3, params.yaml"):
        provenance.require(frames)


def test_what_carries_none_passes(project: Path) -> None:
    assert provenance.require(Path("artifacts/nothing")) == {}
    assert provenance.digest(Path("artifacts/nothing.h5")) == ""


def test_what_version_0_1_0_wrote_passes_and_half_of_it_does_not(chain: Path) -> None:
    """Without a name and a seal, which `ser adopt` keeps; with one of them it is damage."""
    path = NEXT / provenance.FILE
    whole = json.loads(path.read_text("utf-8"))
    for left, passes in (({"params", "inputs"}, True), ({"params", "inputs", "name"}, False)):
        path.write_text(json.dumps({key: whole[key] for key in left}), "utf-8")
        (NEXT / files.SUMS).unlink(missing_ok=True)
        if passes:
            assert provenance.require(NEXT) == whole["params"]
        else:
            with pytest.raises(PipelineError, match="its provenance is damaged"):
                provenance.require(NEXT)
