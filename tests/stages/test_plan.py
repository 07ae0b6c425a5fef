"""plan: what is switched off leaves the pooled folders, what is active stays untouched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.ground import files, params
from pipeline.ground.errors import PipelineError
from stages import code, plan


def edit(old: str, new: str) -> None:
    path = Path("params.yaml")
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    params.read.cache_clear()


def touch(name: str) -> Path:
    path = Path("artifacts") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    return path


def label(corpus: str, emotions: str) -> None:
    """A corpus of the parser `table`, one file for each emotion."""
    folder = Path("data/raw") / corpus
    folder.mkdir(parents=True)
    rows = []
    for number, emotion in enumerate(emotions.split()):
        (folder / f"{number}.wav").touch()
        rows.append(f"{number}.wav,{emotion},s{number % 2}\n")
    (folder / "labels.csv").write_text("path,emotion,speaker\n" + "".join(rows), "utf-8")
    edit("\ncorpus:\n", f"\ncorpus:\n  {corpus}:\n    parser: table\n    language: en\n")


EMPTY = "no estimate: of unknown length are one, two"  # files without a byte
ALL = "angry calm disgust fear happy neutral sad surprise"


def test_labels_that_take_no_part_are_told_before_anything_runs(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label("one", ALL)
    label("two", "anger Anger happiness sad")
    edit("corpora:\n- demo\n", "corpora:\n- one\n- two\n")
    plan.main()
    assert capsys.readouterr().err.splitlines() == [
        "'anger' takes no part: 2 two utterances, nearest class 'angry' "
        "(task.emotion.classes, task.emotion.merge)",
        "'happiness' takes no part: 1 two utterances, nearest class 'happy' "
        "(task.emotion.classes, task.emotion.merge)",
        EMPTY,
    ]
    edit("    merge: {}\n", "    merge:\n      ANGER: angry\n      happiness: Happy\n")
    plan.main()
    assert capsys.readouterr().err == f"{EMPTY}\n"


def test_a_class_and_a_merge_that_no_corpus_fills_stop_at_once(project: Path) -> None:
    label("one", ALL.replace("fear", "fearful") + " anger")
    edit("corpora:\n- demo\n", "corpora:\n- one\n")
    edit("    merge: {}\n", "    merge:\n      angr: angry\n")
    with pytest.raises(PipelineError, match=r"'fear' \(nearest label 'fearful'\).*'angr' \(near"):
        plan.main()
    # Without a classifier nothing needs classes.
    edit("\nfolds:\n- 0\n- 1\n", "\nfolds: []\n")
    edit("adapted:\n- 0\n- 1\n", "adapted: []\n")
    plan.main()


def test_a_corpus_that_is_not_there_yet_is_left_to_split(project: Path) -> None:
    label("one", "angry")
    edit("corpora:\n- demo\n", "corpora:\n- one\n- demo\n")
    plan.main()


ACTIVE = (
    "clips/demo/manifest.csv",
    "embeddings/fbank/demo.h5",
    "classifiers/emotion/fbank/linear/0/predictions.csv",
    "classifiers/emotion/pretrained/full/1/predictions.csv",
    "classifiers/emotion/retrained/full/0/model.safetensors",
    "classifiers/share/fbank/cnn-lstm-attention/1/predictions.csv",
    "multitask/7/model.safetensors",
    "probes/emotion/tiny/layers.csv",
    "units/1/units.h5",
)
STALE = (
    "clips/emodb/manifest.csv",
    "embeddings/fbank/emodb.h5",
    "embeddings/mfcc/demo.h5",
    "probes/emotion/mfcc/layers.csv",
    "units/7/units.h5",
    "classifiers/emotion/fbank/linear/2/predictions.csv",
    "classifiers/emotion/retrained/lora-qkv/0/predictions.csv",
    "classifiers/emotion/pretrained/stray.csv",
    "classifiers/share/fbank/cnn-lstm/0/predictions.csv",
)


def test_only_inactive_outputs_of_pooled_folders_go(project: Path) -> None:
    edit("  - share\n  features: []\n", "  - share\n  features:\n  - fbank\n")
    kept, stale = [touch(name) for name in ACTIVE], [touch(name) for name in STALE]
    plan.main()
    assert all(path.is_file() for path in kept)
    assert not any(path.exists() for path in stale)


def test_what_it_will_take_is_told_and_stops_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.main()
    assert "all that is active: about " in capsys.readouterr().err
    edit(
        "  epochs: 2           # [ours]; 0 publishes", "  epochs: two         # [ours]; 0 publishes"
    )
    plan.main()
    assert "no estimate, a setting is not what its stage expects" in capsys.readouterr().err


def test_the_record_follows_the_lists_alone(project: Path) -> None:
    plan.main()
    first = Path("artifacts/plan/results.json").read_bytes()
    touch("clips/emodb/manifest.csv")
    plan.main()
    assert Path("artifacts/plan/results.json").read_bytes() == first
    assert files.read_json(Path("artifacts/plan/corpora.json")) == ["demo"]


def test_raw_data_that_dvc_can_fetch_need_not_be_there(project: Path) -> None:
    edit("- demo\n", "- emodb\n")
    Path("data/raw").mkdir(parents=True)
    Path("data/raw/emodb.dvc").touch()
    plan.main()
    assert files.read_json(Path("artifacts/plan/corpora.json")) == ["emodb"]


@pytest.mark.parametrize("named", ["learned", "own"])
def test_what_pretrain_makes_may_be_used_and_has_met_what_its_start_met(
    project: Path, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    label("heard", ALL)
    edit(
        "  encoders: []\n  corpora: []\n  folds: []\n",
        "  encoders:\n  - learned\n  corpora:\n  - heard\n  folds:\n  - 0\n  - 1\n",
    )
    edit("\nencoders:\n", "\nencoders:\n- untrained\n")
    edit("\npretrained: tiny", f"\npretrained: {named}")
    edit("    folder: encoders/tiny\n", "    folder: encoders/tiny\n    trained_on:\n    - demo\n")
    plan.main()
    assert f"{named}: was trained on" not in capsys.readouterr().err
    edit("  start: untrained ", "  start: tiny ")
    plan.main()
    assert f"{named}: was trained on demo, its scores there are marked" in capsys.readouterr().err


def test_empty_lists_leave_empty_folders(project: Path) -> None:
    edit("  retrained:\n  - full\n", "  retrained: []\n")
    touch("classifiers/emotion/retrained/full/0/predictions.csv")
    plan.main()
    assert not Path("artifacts/classifiers/emotion/retrained").exists()
    assert Path("artifacts/classifiers").is_dir()


def test_a_folder_without_anything_active_is_not_empty_for_dvc(project: Path) -> None:
    """Which warns of each empty dep in every run; what is active then lies there alone."""
    plan.main()
    (held,) = Path("artifacts/cross").iterdir()
    plan.main()
    assert list(Path("artifacts/cross").iterdir()) == [held]
    off = "in finetune.methods\n  features: []\n"
    edit(off, off.replace("[]", "\n  - fbank"))
    touch("cross/fbank/linear/pairs.json")
    plan.main()
    assert [path.name for path in Path("artifacts/cross").iterdir()] == ["fbank"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("- demo\n", "- demmo\n", "corpora has 'demmo', which corpus does not define"),
        ("pretrained: tiny", "pretrained: hubert-base", "pretrained has 'hubert-base'"),
        ("features:\n- fbank", "features:\n- mfcc\n- fbank", "features has 'mfcc', which encoders"),
        ("- demo\n", "- demo\n- demo\n", "corpora has 'demo' twice"),
        ("adapted:\n- 0\n", "adapted:\n- 2\n", "adapted has 2, which folds does not define"),
        ("- 0\n", "- -1\n", "folds.0 must be greater than or equal to 0"),
        ("- demo\n", "- emodb\n", "data/raw/emodb: no such folder, put the corpus there"),
        ("corpora:\n- demo\n", "corpora: []\n", "corpora is empty, name a corpus"),
        ("folds:\n- 0\n", "folds:\n- 0\n- 0\n", "folds has 0 twice, remove one"),
        ("  - full\n", "  - full\n  - full\n", "methods.pretrained has 'full' twice, remove one"),
        ("  - linear\n", "  - full\n", "methods.cached.0 must be 'linear', 'frozen' or "),
        (
            "  - cnn-lstm-attention\n",
            "  - lstm\n",
            "networks.methods has 'lstm', which networks.model",
        ),
    ],
)
def test_a_name_that_nothing_defines_is_one_line(
    project: Path, old: str, new: str, message: str
) -> None:
    edit(old, new)
    with pytest.raises(PipelineError, match=message):
        plan.main()


@pytest.mark.parametrize(
    "name", ["my corpus", "a(b)", "a[b]", "a/b", "a.b", "it's", "-x", "2023", ""]
)
def test_a_corpus_name_that_no_folder_or_shell_word_can_be_is_one_line(
    project: Path, name: str
) -> None:
    edit("\ncorpora:\n- demo\n", f'\ncorpora:\n- "{name}"\n')
    with pytest.raises(
        PipelineError, match=r"params\.yaml: corpus name .*: expected letters, digits"
    ):
        plan.main()


@pytest.mark.parametrize("main", [code.main, plan.main])
@pytest.mark.parametrize("name", ["2023", "'20 23'", "a.b"])
def test_an_entry_of_such_a_name_is_the_same_line(
    project: Path, name: str, main: Callable[[], None]
) -> None:
    edit("\ncorpus:\n", f"\ncorpus:\n  {name}:\n    parser: table\n    language: en\n")
    with pytest.raises(
        PipelineError, match=f"corpus name '?{name}|a key that is no text, put quotes around {name}"
    ):
        main()
