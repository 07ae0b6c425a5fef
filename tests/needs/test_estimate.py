"""Disk and time before anything is computed: against what the demo took, and known figures."""

import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.cli import main as cli
from pipeline.cli.preset import merged
from pipeline.ground import params
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.needs import estimate, hours, rates
from pipeline.needs.estimate import Estimate
from pipeline.needs.hours import Amount
from stages import plan

# Utterances and hours that their papers and pages give, speech alone.
PUBLISHED = {
    "ravdess": Amount(1.48 * 3600, 1440, "published"),
    "crema-d": Amount(5.26 * 3600, 7442, "published"),
    "tess": Amount(1.60 * 3600, 2800, "published"),
    "savee": Amount(0.51 * 3600, 480, "published"),
}
PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
FACTOR = 1.3  # of disk: an estimate of the demo is right within it


def configure(*overlays: str) -> None:
    text = (ROOT / "params.yaml").read_text("utf-8")
    for overlay in overlays:
        text = merged(text, overlay)
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()


def preset(name: str) -> str:
    return (ROOT / "presets" / f"{name}.yaml").read_text("utf-8")


@pytest.fixture
def published(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corpora of published lengths; ten hours of any other."""
    other = Amount(36_000.0, 9_000, "published")
    monkeypatch.setattr(hours, "of", lambda name, *_: PUBLISHED.get(name, other))


def kept(found: Estimate) -> Counter[str]:
    """Bytes by the first word of their line."""
    counts: Counter[str] = Counter()
    for step in found.steps:
        counts[step.name.split(",")[0]] += round(step.kept)
    return counts


def test_all_frames_of_a_large_model_over_four_corpora_are_79_gb(published: None) -> None:
    configure(preset("efficient-finetuning"), "preprocess: {augment: []}")
    configure(
        preset("efficient-finetuning"),
        "{preprocess: {augment: []}, extract: {frames: all, means: all}}",
    )
    bytes_of = kept(estimate.of_params())["embeddings hubert-large"]
    assert bytes_of == pytest.approx(79e9, rel=0.1)
    assert any("26 x frames, 26 x means" in line for line in estimate.lines(estimate.of_params()))


def recorded() -> Counter[str]:
    """What the demo's outputs take, by their folder below artifacts, as dvc.lock has it."""
    counts: Counter[str] = Counter()
    lock = YAML(typ="safe").load((ROOT / "dvc.lock").read_text("utf-8"))
    for name, stage in lock["stages"].items():
        for out in stage["outs"]:
            kind, place = KNOWN.get(name.split("@")[0], ""), Path(out["path"]).parts
            # The lock keeps stages of before tasks had names.
            if kind and (kind != "classifiers" or place[2] == "emotion"):
                counts[kind] += out["size"]
    return counts


KNOWN = {
    "preprocess": "clips",
    "encoder": "encoders",
    "extract": "embeddings",
    "multitask": "multitask",
    "frames": "frames",
    "cluster": "units",
    "retrain": "retrain",
    "finetune": "classifiers",
    "finetune-adapted": "classifiers",
    "networks": "classifiers",
}


def test_the_demo_takes_what_was_estimated(project: Path) -> None:
    """Each part that weighs more than a MB; the settings are those of the demo's last run."""
    (project / "encoders").symlink_to(ROOT / "encoders")
    found: Counter[str] = Counter()
    for step in estimate.of_params().steps:
        first, *rest = step.name.split()
        trained = rest[:1] in (["pretrained"], ["retrained"])
        found["classifiers" if trained else first] += round(step.kept)
    true = {name: size for name, size in recorded().items() if size > 1e6}
    assert len(true) >= 6
    for name, size in true.items():
        assert size / FACTOR < found[name] < size * FACTOR, name


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_an_estimate(published: None, name: str) -> None:
    configure(preset(name))
    found = estimate.of_params()
    assert found.disk > found.kept > 0 and found.seconds > 0
    lines = estimate.lines(found)
    assert sum(line.startswith("all that is active: about ") for line in lines) == 1
    assert not any("unknown length" in line for line in lines)


def test_twice_the_layers_are_twice_the_frames_and_half_the_precision_half(
    published: None,
) -> None:
    sizes = []
    for extract in ("frames: [-3]", "frames: [-3, -6]", "frames: [-3], dtype: float32"):
        configure(f"{{features: [tiny], extract: {{means: [], {extract}}}}}")
        sizes.append(kept(estimate.of_params())["embeddings tiny"])
    assert sizes[1] == sizes[2] == 2 * sizes[0]


ALL_ON = """
corpora: [demo, ravdess]
features: [fbank, tiny, learned]
methods: {cached: [linear, frozen, lora-classifier], pretrained: [full], retrained: [lora-qkv]}
crnn: {features: [fbank]}
cross: {features: [fbank], methods: [linear, frozen]}
networks: {features: [fbank], methods: [cnn-lstm, cnn-lstm-attention]}
stress: {classifiers: [emotion/fbank/linear, emotion/retrained/lora-qkv]}
pretrain: {encoders: [learned], corpora: [emodb], folds: [0, 1], start: tiny}
"""
# What neither takes time nor keeps much.
UNCOUNTED = {"code", "plan", "synthesize", "split"}


def test_every_stage_of_the_graph_is_in_it(published: None) -> None:
    configure(ALL_ON)
    Path(".dvc").mkdir()
    for file in ("dvc.yaml", ".dvc/config"):
        Path(file).write_bytes((ROOT / file).read_bytes())
    subprocess.run(["git", "init", "-q"], check=True)
    words = ["dvc", "stage", "list", "--name-only"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    counted = sum(step.stages for step in estimate.of_params().steps)
    assert counted == len(set(listed) - UNCOUNTED), sorted(listed)
    assert all(step.total_s > 0 and step.kept > 0 for step in estimate.of_params().steps)


def test_copies_by_augmentation_count(published: None) -> None:
    configure()
    alone = estimate.of_params()
    configure("preprocess: {augment: [{kind: noise, name: n, low: 10, high: 20}]}")
    both = estimate.of_params()
    for name in ("clips", "embeddings tiny", "frames"):
        assert kept(both)[name] == pytest.approx(2 * kept(alone)[name], rel=1e-6)


def test_a_gpu_is_faster_where_it_counts(published: None, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(preset("gmp-atl"))
    monkeypatch.setattr(rates, "NVIDIA", Path("/nowhere"))
    slow = estimate.of_params()
    monkeypatch.setattr(rates, "NVIDIA", Path("/dev/null"))
    fast = estimate.of_params()
    assert (slow.kind, fast.kind) == ("cpu", "gpu")
    of = {step.name: step.seconds for step in slow.steps}
    for step in fast.steps:
        assert step.seconds <= of[step.name], step.name
    assert fast.seconds < slow.seconds / 10


def test_a_disk_that_is_too_small_is_warned_of(
    published: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure()
    found = estimate.of_params()

    def free(size: float) -> list[str]:
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=size))
        return [line for line in estimate.lines(found) if line.startswith("WARNING")]

    assert free(found.disk) == []
    (line,) = free(found.disk - 1)
    assert "are free" in line and "extract.frames" in line
    # What is there already need not be made again.
    Path("artifacts").mkdir()
    Path("artifacts/some").write_bytes(b"1234")
    assert free(found.disk - 1) == []


@pytest.mark.parametrize(("config", "copies"), [("", 2), ("type = reflink,copy", 2),
                                               ("type = hardlink,symlink", 1)])  # fmt: skip
def test_a_linked_cache_is_no_second_copy(published: None, config: str, copies: int) -> None:
    configure()
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text(f"[cache]\n{config}\n")
    found = estimate.of_params()
    assert found.copies == copies
    assert ("as much in DVC's cache" in "".join(estimate.lines(found))) == (copies == 2)


@pytest.mark.parametrize("broken", ["multitask: {epochs: a}", "extract: {dtype: int8}",
                                    "split: {count: []}", "cluster: {scales: 3}"])  # fmt: skip
def test_a_setting_that_its_stage_will_refuse_is_one_line(published: None, broken: str) -> None:
    configure(broken)
    if broken.startswith("split"):  # as where each group is a fold
        assert estimate.of_params().steps
        return
    with pytest.raises(PipelineError, match="a setting is not what its stage expects"):
        estimate.of_params()


def test_ser_plan_prints_what_the_stage_does(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.main()
    told = capsys.readouterr().err.splitlines()
    before: Any = sorted(Path("artifacts").rglob("*"))
    with pytest.raises(SystemExit) as end:
        cli.app(["plan"])
    assert not end.value.code
    shown = capsys.readouterr().out.splitlines()
    assert shown == told[-len(shown) :] and shown[0].startswith("demo: 0.07 hours by params.yaml")
    assert sorted(Path("artifacts").rglob("*")) == before  # nothing is pruned
