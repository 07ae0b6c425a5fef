"""The stage `split` on manifests: each scheme, the check on the written file, its errors."""

import json
import re
from pathlib import Path

import pytest

from pipeline.corpora import manifest, published
from pipeline.corpora.manifest import CLIPS, Clip
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.splits import folds
from stages import split
from tests.splits.test_partition import EMOTIONS, corpus

CLASSES = "".join(f"    - {emotion}\n" for emotion in EMOTIONS)


@pytest.fixture(autouse=True)
def _three_classes_in_one_fold(project: Path) -> None:
    text = re.sub(
        r"(?<=    classes:\n)(    - \w+\n)+", CLASSES, (project / "params.yaml").read_text()
    )
    text = text.replace("folds:\n- 0\n- 1\n", "folds:\n- 0\n")
    text = text.replace("adapted:\n- 0\n- 1\n", "adapted:\n- 0\n")
    (project / "params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()


def configure(project: Path, **keys: str) -> None:
    path = project / "params.yaml"
    lines = path.read_text("utf-8").splitlines()
    section = lines.index("split:")
    for key, value in keys.items():
        at = next(n for n in range(section, len(lines)) if lines[n].startswith(f"  {key}:"))
        lines[at] = f"  {key}: {value}"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    params.read.cache_clear()


def publish(clips: list[Clip], name: str = "demo") -> list[Clip]:
    (CLIPS / name).mkdir(parents=True, exist_ok=True)
    manifest.write(CLIPS / name / "manifest.csv", clips)
    return clips


def test_the_committed_setting_leaves_sessions_out(project: Path) -> None:
    clips = publish(corpus("demo"))
    split.main()
    tested = []
    for number in range(2):
        roles = folds.read(number)
        assert set(roles) == {c.clip for c in clips}
        held = {c.session for c in clips if roles[c.clip] == "test"}
        assert not held & {c.session for c in clips if roles[c.clip] != "test"}
        tested += sorted(held)
        assert len({c.speaker for c in clips if roles[c.clip] == "dev"}) == 1
    assert sorted(tested) == ["1", "2", "3", "4"]


def test_a_stale_corpus_on_disk_does_not_leak_in(project: Path) -> None:
    clips = publish(corpus("demo"))
    publish(corpus("stale"), "stale")
    split.main()
    assert set(folds.read(0)) == {c.clip for c in clips}


def test_the_file_is_the_same_bytes_every_time(project: Path) -> None:
    publish(corpus("demo"))
    written = []
    configure(project, by="speaker", count="3")
    for seed in ("1", "1", "2"):
        path = project / "params.yaml"
        path.write_text(re.sub(r"(?m)^seed: \d+", f"seed: {seed}", path.read_text()))
        params.read.cache_clear()
        split.main()
        written.append(folds.FOLDS.read_bytes())
    assert written[0] == written[1] == written[2]


def test_published_and_given_folds(project: Path) -> None:
    publish(corpus("demo", speakers=3, takes=1))
    roles = ["train", "test", "train"]
    lines = [
        f"0,demo/{n}-{e}-0,{roles[n - 1]}" for n in (1, 2, 3) for e in ("angry", "happy", "sad")
    ]
    (CLIPS / "demo/published.csv").write_text("\n".join(["fold,utterance,role", *lines]) + "\n")
    configure(project, by="published", count="all", dev="speaker")
    split.main()
    assert set(folds.read(0).values()) == {"train", "dev", "test"}
    configure(project, by="given", dev="none")
    Path("data").mkdir()
    Path("data/folds.csv").write_text("fold,role,speaker\n0,test,demo/1\n0,train,demo/2\n")
    split.main()
    assert {name.split("-")[0]: role for name, role in folds.read(0).items()} == {
        "demo/1": "test",
        "demo/2": "train",
    }


def test_parts_that_are_known_to_share_speakers_are_taken_and_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(corpus("demo", speakers=2, takes=2))
    roles = {
        f"demo/{n}-{e}-{take}": ("train", "test")[take]
        for n in (1, 2)
        for e in ("angry", "happy", "sad")
        for take in (0, 1)
    }
    configure(project, by="published", count="all", dev="none")
    for shared in (False, True):
        published.write(CLIPS / "demo", [roles], shared)
        if shared:
            split.main()
            assert folds.read(0) == roles
            assert "demo: speakers are on both sides" in capsys.readouterr().err
        else:
            with pytest.raises(PipelineError, match="share their speaker"):
                split.main()


def test_a_given_split_that_shares_a_speaker_is_refused_and_nothing_is_written(
    project: Path,
) -> None:
    publish(corpus("demo", speakers=2, takes=1))
    Path("data").mkdir()
    Path("data/folds.csv").write_text(
        "fold,role,utterance\n0,test,demo/1-sad-0\n0,train,demo/1-happy-0\n"
    )
    configure(project, by="given", count="all", dev="none")
    with pytest.raises(PipelineError, match="share their speaker"):
        split.main()
    assert not folds.FOLDS.exists()


def test_equal_audio_in_two_corpora_is_refused_across_roles(project: Path) -> None:
    clips = corpus("demo", speakers=4, takes=1)
    copied = corpus("copy", speakers=4, takes=1)
    publish(clips)
    publish(
        [Clip(**{**vars(c), "sha256": d.sha256}) for c, d in zip(copied, clips, strict=True)],
        "copy",
    )
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("\n- demo\n", "\n- demo\n- copy\n", 1))
    configure(project, by="corpus", count="all", dev="none")
    with pytest.raises(PipelineError, match="share their audio") as caught:
        split.main()
    assert "copy/1-angry-0" in str(caught.value) and "demo/1-angry-0" in str(caught.value)


def test_equal_audio_in_two_corpora_is_told_where_it_is_in_one_role(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = corpus("demo", speakers=2, takes=6)
    publish(clips)
    copied = corpus("copy", speakers=2, takes=6)
    publish(
        [Clip(**{**vars(c), "sha256": d.sha256}) for c, d in zip(copied, clips, strict=True)],
        "copy",
    )
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("\n- demo\n", "\n- demo\n- copy\n", 1))
    configure(project, by="given", count="all", dev="none")
    Path("data").mkdir()
    rows = [f"0,{r},{c}/{n}" for c in ("demo", "copy") for n, r in ((1, "test"), (2, "train"))]
    Path("data/folds.csv").write_text("\n".join(["fold,role,speaker", *rows]) + "\n")
    split.main()
    told = [line for line in capsys.readouterr().err.splitlines() if "the same audio" in line]
    assert told[0] == "the same audio: copy/1-angry-0, demo/1-angry-0"
    assert told[10:] == [f"the same audio: {len(clips) - 10} more groups across corpora"]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"count": "5"}, "split.count must be 2 to 4"),
        ({"count": "1"}, "split.count must be 2 to 4"),
        ({"by": "sesion"}, "split.by must be"),
        ({"by": "random"}, "by random with a count of 2 or more"),
        ({"dev": "random"}, "unless by is random"),
        ({"by": "published"}, "demo: no published folds are known"),
    ],
)
def test_settings_that_cannot_be_met_are_one_line(
    project: Path, keys: dict[str, str], told: str
) -> None:
    publish(corpus("demo"))
    configure(project, **keys)
    with pytest.raises(PipelineError, match=told):
        split.main()


def test_random_folds_share_speakers_knowingly(project: Path) -> None:
    clips = publish(corpus("demo"))
    configure(project, by="random", count="5", dev="random")
    split.main()
    roles = folds.read(4)
    assert set(roles.values()) == {"train", "dev", "test"}
    speakers = [{c.speaker for c in clips if roles[c.clip] == r} for r in ("train", "test")]
    assert speakers[0] & speakers[1]


def test_a_class_that_a_fold_cannot_train_stops_split_and_names_split_dev(project: Path) -> None:
    # As in c11: the one speaker of `sad` beside those who are tested is the only one that has it.
    clips = [c for c in corpus("demo", speakers=4) if c.emotion != "sad" or c.speaker < "demo/3"]
    publish(clips)
    configure(project, by="given", count="all", dev="speaker")
    Path("data").mkdir()
    roles = ["test", "dev", "train", "train"]
    rows = [f"0,{role},demo/{n}" for n, role in enumerate(roles, 1)]
    Path("data/folds.csv").write_text("\n".join(["fold,role,speaker", *rows]) + "\n")
    with pytest.raises(PipelineError, match=r"fold 0 trains no 'sad', split\.dev took all of it"):
        split.main()
    assert not folds.FOLDS.exists()
    rows[1] = "0,train,demo/2"
    Path("data/folds.csv").write_text("\n".join(["fold,role,speaker", *rows]) + "\n")
    split.main()
    made = folds.read(0)
    assert {c.speaker for c in clips if made[c.clip] == "dev"} <= {"demo/3", "demo/4"}


def test_what_takes_no_part_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = corpus("demo")
    others = [Clip(**{**vars(c), "emotion": "sadness"}) for c in clips[:2]]
    publish(others + clips[2:])
    split.main()
    assert "'sadness' takes no part: 2 demo utterances, nearest class 'sad' " in (
        capsys.readouterr().err
    )


def test_a_share_of_the_training_speakers(project: Path) -> None:
    clips = publish(corpus("demo"))
    configure(project, by="speaker", count="2")
    split.main()
    whole = folds.read_all()
    configure(project, train_share="0.5")
    split.main()
    for before, fold in zip(whole, folds.read_all(), strict=True):
        trained = [{c.speaker for c in clips if f.get(c.clip) == "train"} for f in (before, fold)]
        assert [len(one) for one in trained] == [3, 2] and trained[1] < trained[0]
        assert fold == {k: v for k, v in before.items() if k in fold}
        assert all(k in fold for k, role in before.items() if role != "train")
    told = json.loads(Path("artifacts/folds.csv.provenance.json").read_text("utf-8"))
    assert told["params"]["seed"] == 1


def test_a_share_that_trains_no_speaker_of_a_class_is_one_line(project: Path) -> None:
    publish([c for c in corpus("demo") if c.emotion != "sad" or c.speaker in ("demo/1", "demo/8")])
    configure(project, by="speaker", count="2", dev="none")
    split.main()
    before = folds.FOLDS.read_bytes()
    configure(project, train_share="0.1")
    with pytest.raises(PipelineError, match=r"fold 0 trains no 'sad', .*split\.train_share"):
        for seed in range(1, 20):  # until the one speaker who is sad is not drawn
            path = project / "params.yaml"
            path.write_text(re.sub(r"(?m)^seed: \d+", f"seed: {seed}", path.read_text()))
            params.read.cache_clear()
            split.main()
            before = folds.FOLDS.read_bytes()
    assert folds.FOLDS.read_bytes() == before
