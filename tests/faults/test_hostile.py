"""Input made to do harm: refused in one line, nothing executed, nothing written outside."""

import ast
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.audio import decoding, flac
from pipeline.audio.recording import RejectedError
from pipeline.corpora import manifest
from pipeline.ground import files, params
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.inference import judge
from tests.faults import chain
from tests.methods.test_hostile import changes
from tests.recordings import record


class Payload:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.canary,)


def refused(project: Path, command: str) -> str:
    """Run a stage that must stop; its one line."""
    step = chain.step_of(command)
    expected = chain.contents(project, step)
    shutil.rmtree(project / ".scratch", ignore_errors=True)
    status, told = chain.run(project, step)
    assert status == 1, told
    assert "Traceback" not in told
    assert chain.contents(project, step) == expected
    assert chain.leftovers(project) == []
    return told.splitlines()[-1]


def unseal(project: Path) -> None:
    """Whoever can write a file can write its checksum too."""
    for sums in [*project.glob("artifacts/**/SHA256SUMS"), *project.glob("artifacts/*.sha256")]:
        sums.unlink()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("artifacts/clips/demo/audio/wav/3.flac", "extract --encoder"),
        ("artifacts/clips/demo/manifest.csv", "split"),
        ("artifacts/folds.csv", "multitask"),
        ("artifacts/encoders/untrained/model.safetensors", "multitask"),
        ("artifacts/encoders/untrained/config.json", "retrain"),
        ("artifacts/embeddings/fbank/demo.h5", "networks"),
        ("artifacts/units/0/units.h5", "retrain"),
        (f"{chain.CLASSIFIERS}/retrained/full/0/predictions.csv", "evaluate"),
        ("params.yaml", "cluster"),
    ],
)
def test_a_pickle_in_place_of_an_artefact_is_not_run(copied: Path, name: str, command: str) -> None:
    unseal(copied)
    canary = copied / "canary"
    (copied / name).write_bytes(pickle.dumps(Payload(canary), 0))
    assert Path(name).name in refused(copied, command)
    assert not canary.exists()


def test_only_the_encoder_stage_unpickles_and_without_code() -> None:
    """A .bin alone, after its checksum (encoders/test_hub.py), by torch's restricted unpickler."""
    found = []
    for path in [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("stages/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            call = ast.unparse(node) if isinstance(node, ast.Call) else ""
            if call.startswith(("torch.load(", "pickle.load", "joblib.load", "np.load(")):
                found.append((path.name, call))
            assert not call.startswith(("eval(", "exec(", "os.system(")), path
    # What crosses the pipes of our own processes is no file.
    read = [call for name, call in found if name != "pool.py"]
    assert len(read) == 1
    assert "weights_only=True" in read[0]


@pytest.mark.parametrize(
    ("column", "value"),
    [("path", "../../../outside.flac"), ("path", "/etc/hostname"), ("corpus", "../../outside")],
)
def test_a_manifest_that_leaves_its_folder_is_refused(
    copied: Path, column: str, value: str
) -> None:
    unseal(copied)
    path = copied / "artifacts/clips/demo/manifest.csv"
    row = manifest.read(["demo"], path.parent.parent)[0]
    flac.write_flac(copied.parent / "outside.flac", np.zeros(8000, np.float32))
    path.write_text(path.read_text("utf-8").replace(f",{getattr(row, column)},", f",{value},", 1))
    assert value in refused(copied, "extract --encoder")


@pytest.mark.parametrize("kind", ["external", "soft", "virtual"])
def test_hdf5_that_points_elsewhere_is_refused(copied: Path, kind: str) -> None:
    secret = copied / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((16, 12), np.float32)
    with h5py.File(copied / "artifacts/embeddings/fbank/demo.h5", "a") as file:
        del file["mean_last"]
        if kind == "external":
            file["mean_last"] = h5py.ExternalLink(str(secret), "x")
        elif kind == "soft":
            file["mean_last"] = h5py.SoftLink("/layer_last")
        else:
            layout = h5py.VirtualLayout((16, 12), np.float32)
            layout[:] = h5py.VirtualSource(str(secret), "x", (16, 12))
            file.create_virtual_dataset("mean_last", layout)
    assert "artifacts/embeddings/fbank/demo.h5: damaged (mean_last is " in refused(
        copied, "networks"
    )


def test_an_archive_in_a_corpus_is_never_opened(copied: Path) -> None:
    raw = copied / "data/raw/demo"
    with zipfile.ZipFile(raw / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("../../escaped.wav", bytes(50_000_000))
    shutil.copy(raw / "bomb.zip", raw / "wav/1.wav")
    before = {path for path in copied.rglob("*") if "artifacts" not in path.parts}
    assert "first wav/1.wav: not WAV, AIFF, FLAC, Ogg or MP3" in refused(copied, "preprocess")
    after = {path for path in copied.rglob("*") if "artifacts" not in path.parts}
    assert {path for path in after - before if ".scratch" not in path.parts} <= {copied / "stderr"}


def test_hours_in_a_few_bytes_are_rejected_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "bomb.flac", np.zeros((20_000, 8), np.float32), 192_000)
    content = bytearray(path.read_bytes())
    monkeypatch.setattr(decoding, "MAX_SAMPLES", 8 * 20_000 - 1)
    with pytest.raises(RejectedError, match="too_long, 20000 samples in 8 channels"):
        decoding.decode(path)
    content[21:26] = ((content[21] >> 4 << 36) + 2**35).to_bytes(5, "big")  # 36 bits of them
    path.write_bytes(content)
    with pytest.raises(RejectedError, match="truncated, FLAC frames of 20000 samples, the header"):
        decoding.decode(path)


def test_aliases_that_multiply_are_told_in_one_short_line(project: Path) -> None:
    text = Path("params.yaml").read_text("utf-8")
    lines = ["- &l0 [x]"] + [f"- &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    laughs = text.replace("\nseed: 1\n", "\nseed:\n" + "\n".join(lines) + "\n")
    Path("params.yaml").write_text(laughs, "utf-8")
    params.read.cache_clear()
    with pytest.raises(PipelineError, match=r"seed\.\d holds more than 100,000 values") as told:
        params.load("seed", int)
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize("text", ["[" * 100_000, "2001-13-45: 1", "a: !!binary ü", "x: *y"])
def test_yaml_that_no_loader_expects_is_one_line(project: Path, text: str) -> None:
    Path("params.yaml").write_text(text, "utf-8")
    with pytest.raises(PipelineError, match=r"params.yaml: (not valid YAML|unknown key)"):
        params.read(Path("params.yaml").resolve())


def test_json_as_deep_as_the_stack_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(PipelineError, match="not valid JSON"):
        files.read_json(tmp_path / "deep.json")


@pytest.mark.parametrize("method", ["linear", "crnn"])
def test_what_a_strangers_classifier_takes_of_embeddings(
    copied: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.chdir(copied)
    params.read.cache_clear()
    folder = Path(chain.CLASSIFIERS, "fbank", method, "0").rename("m")
    (folder / files.SUMS).unlink()
    settings = folder / "features.json"
    good = files.read_json(settings)
    for bad in changes(settings):
        settings.write_text(json.dumps(bad), "utf-8")
        try:
            judge.load(folder)
        except PipelineError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert {**bad, "precision": ""} == {**good, "precision": ""}


def test_a_strangers_planes(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied)
    params.read.cache_clear()
    folder = Path(chain.CLASSIFIERS, "fbank/linear/0").rename("m")
    (folder / files.SUMS).unlink()
    path = folder / "model.safetensors"
    good = load_file(path)
    for name in ("mean", "scale", "weight", "bias"):
        values = good[name]
        shapes = values[..., :-1], values[None], np.zeros(0), np.repeat(values, 3, 0)
        for bad in (values * np.nan, values * np.inf, *shapes):
            save_file(good | {name: np.ascontiguousarray(bad)}, path)
            with pytest.raises(PipelineError):
                judge.load(folder)
        save_file({key: good[key] for key in good if key != name}, path)
        with pytest.raises(PipelineError):
            judge.load(folder)
    save_file(good, path)
    assert judge.load(folder).classes == ["happy", "sad"]
