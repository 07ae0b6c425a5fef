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
    publish(BASE, "one", "encoder.untrained", "seed")
    publish(NEXT, "two", "multitask", inputs=(BASE,))
    return project


def test_an_artefact_carries_the_parameters_of_all_that_led_to_it(chain: Path) -> None:
    found = files.read_json(NEXT / provenance.FILE)
    assert list(found["params"]) == ["encoder.untrained", "multitask", "seed"]
    assert found["params"]["multitask"] == params.load("multitask", object)
    assert list(found["inputs"]) == [str(BASE)]
    assert provenance.require(NEXT) == found["params"]


def test_the_lineage_of_an_artefact_has_the_seals_of_all_that_led_to_it(chain: Path) -> None:
    made = Provenance.of(Path("artifacts/last"), [], [NEXT])
    seals = {files.read_json(one / provenance.FILE)["seal"] for one in (BASE, NEXT)}
    assert made.lineage() == seals


def test_the_order_of_keys_in_params_yaml_changes_no_byte(chain: Path) -> None:
    before = (NEXT / provenance.FILE).read_bytes()
    path = Path("params.yaml")
    text, old = path.read_text("utf-8"), "    blocks: 12\n    width: 128\n"
    assert old in text
    path.write_text(text.replace(old, "    width: 128\n    blocks: 12\n"), "utf-8")
    params.read.cache_clear()
    publish(BASE, "one", "seed", "encoder.untrained")
    publish(NEXT, "two", "multitask", inputs=(BASE,))
    assert (NEXT / provenance.FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("overlay", "told"),
    [
        ("multitask: {epochs: 7}", "multitask.epochs 2, params.yaml has 7"),
        ("encoder: {untrained: {width: 64}}", "encoder.untrained.width 128, params.yaml has 64"),
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
    publish(BASE, "one", "encoder.untrained", "seed", "numerics_version")
    provenance.require(NEXT)  # equal content, whatever is said of it
    publish(BASE, "other", "encoder.untrained", "seed")
    with pytest.raises(PipelineError, match=f"^{NEXT}: made from another {BASE} than lies there"):
        provenance.require(NEXT)


def test_an_input_that_is_not_here_contradicts_nothing(chain: Path) -> None:
    (BASE / "model").unlink()
    (BASE / files.SUMS).unlink()
    assert provenance.require(NEXT)


def test_nothing_is_made_from_what_contradicts_the_parameters(chain: Path) -> None:
    change("encoder: {untrained: {width: 64}}")
    with pytest.raises(
        PipelineError, match=r"^artifacts/encoders/base: made with encoder\.untrained"
    ):
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
    change("{split: {count: 3}, frames: {layer: -2}}")
    with pytest.raises(PipelineError, match=r"folds.csv: made with split.count 2, params.yaml"):
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


def replaced(path: Path, content: bytes) -> None:
    """As DVC and editors do: another file under the name."""
    path.with_name("new").write_bytes(content)
    path.with_name("new").replace(path)


def test_an_input_that_is_checked_out_anew_stays_what_it_was(chain: Path) -> None:
    (BASE / "frames.h5").touch()
    made = Provenance.of(NEXT, ["seed"], [BASE])
    made.require_same()
    for path in (BASE / "model", BASE / provenance.FILE, BASE / files.SUMS):
        replaced(path, path.read_bytes())
    made.require_same()
    replaced(BASE / "frames.h5", b"")  # no checksum tells whether it is the same
    with pytest.raises(PipelineError, match=f"^{BASE}/frames.h5: changed while it was read, wait"):
        made.require_same()


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_an_input_that_changes_is_not_written_of(chain: Path, sealed: bool, in_place: bool) -> None:
    """Whether its checksums still fit or not; old outputs stay."""
    before = (NEXT / "model").read_bytes()
    with pytest.raises(PipelineError, match=f"^{BASE}/.*: changed while it was read"):
        made = Provenance.of(NEXT, ["seed"], [BASE])
        (BASE / "model").write_bytes(b"uno") if in_place else replaced(BASE / "model", b"uno")
        if sealed:
            files._write_sums(BASE)
        with files.publish(NEXT) as out:
            out.mkdir()
            (out / "model").write_text("made of both")
            made.write(out)
    assert (NEXT / "model").read_bytes() == before


@pytest.mark.parametrize("kind", ["file", "hdf5"])
def test_an_input_that_is_one_file_is_looked_at_again(project: Path, kind: str) -> None:
    path = folds.FOLDS if kind == "file" else Path("artifacts/frames.h5")

    def write(value: int) -> None:
        if kind == "file":
            files.write_text(path, f"fold,clip,role\n0,{value},train\n")
            files.seal(path)
        else:
            path.parent.mkdir(exist_ok=True)
            with h5py.File(path, "w") as file:
                file.attrs["width"] = value

    write(1)
    made = Provenance.of(NEXT, ["seed"], [path])
    write(1)
    made.require_same()
    write(2)
    with pytest.raises(PipelineError, match=f"^{path}: changed while it was read"):
        made.require_same()
    path.unlink()
    with pytest.raises(PipelineError, match=f"^{path}: changed while it was read"):
        made.require_same()
