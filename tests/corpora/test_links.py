"""Links of a corpus: into its folder and DVC's cache they are followed, elsewhere they stop it."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.corpora import registry
from pipeline.ground.errors import PipelineError
from tests.recordings import labelled, record


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus ``a.wav``, ``b.wav`` in a project that is the working directory."""
    for level in ("SYSTEM", "GLOBAL"):
        monkeypatch.setenv(f"DVC_{level}_CONFIG_DIR", str(tmp_path / level))
    project = tmp_path / "project"
    labelled(project / "data/raw/toy", ["a.wav,sad,s1", "b.wav,sad,s2"])
    monkeypatch.chdir(project)
    return Path("data/raw/toy")


def to_cache(file: Path, cache: Path) -> None:
    """Move a file into the cache and leave a link, as DVC does with ``cache.type symlink``."""
    kept = cache / "files/md5" / file.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    file.rename(kept)
    file.symlink_to(kept.absolute())


def configure(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_dvc_s_own_links_are_followed(raw: Path) -> None:
    settings = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
    configure(Path(".dvc/config"), settings)
    config = [sys.executable, "-m", "dvc", "config", "--local"]
    subprocess.run([*config, "cache.type", "symlink"], check=True)
    subprocess.run([*config, "cache.dir", "../shared cache, #1"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", str(raw)], check=True)
    assert (raw / "a.wav").is_symlink()
    assert (raw / "labels.csv").resolve().is_relative_to(Path("../shared cache, #1").resolve())
    assert [row.source for row in registry.parse("table", raw).rows] == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("config", "text", "cache"),
    [
        (".dvc/config", "", ".dvc/cache"),
        (
            ".dvc/config",
            "[core]\n    remote = x\n['remote \"x\"']\n    url = s3://x\n",
            ".dvc/cache",
        ),
        (".dvc/config.local", "[cache]\n    dir = ../../shared\n", "../shared"),
        ("../GLOBAL/config", "[cache]\n    dir = ../shared\n", "../shared"),
        ("../SYSTEM/config", "[cache]\n    dir = ../shared\n", "../shared"),
    ],
)
def test_links_into_the_cache_that_is_configured_are_followed(
    raw: Path, config: str, text: str, cache: str
) -> None:
    configure(Path(config), text)
    for name in ("a.wav", "labels.csv"):
        to_cache(raw / name, Path(cache))
    assert len(registry.parse("table", raw).rows) == 2


def test_the_most_specific_cache_alone_is_allowed(raw: Path) -> None:
    configure(Path("../GLOBAL/config"), "[cache]\n    dir = ../old\n")
    configure(Path(".dvc/config"), "[cache]\n    dir = ../../shared\n")
    to_cache(raw / "a.wav", Path("../old"))
    with pytest.raises(PipelineError, match="a link out of the corpus folder"):
        registry.parse("table", raw)


def out_by_suffix(raw: Path, outside: Path) -> str:
    (raw / "c.bin").symlink_to(outside / "c.wav")
    return "c.bin"


def out_and_hidden(raw: Path, outside: Path) -> str:
    (raw / ".c.wav").symlink_to(outside / "c.wav")
    return ".c.wav"


def out_by_a_hidden_folder(raw: Path, outside: Path) -> str:
    (raw / ".more").symlink_to(outside)
    return ".more/c.wav"


def out_by_two_links(raw: Path, outside: Path) -> str:
    (raw / ".step").symlink_to(outside / "c.wav")
    (raw / "c.wav").symlink_to(".step")
    return "c.wav"


@pytest.mark.parametrize(
    "make", [out_by_suffix, out_and_hidden, out_by_a_hidden_folder, out_by_two_links]
)
def test_what_a_row_names_may_not_lead_out_either(raw: Path, make: object) -> None:
    outside = Path("outside").absolute()
    record(outside / "c.wav")
    path = make(raw, outside)  # type: ignore[operator]
    with (raw / "labels.csv").open("a") as labels:
        labels.write(f"{path},sad,s\n")
    with pytest.raises(PipelineError, match="a link out of the corpus folder"):
        registry.parse("table", raw)


@pytest.mark.parametrize("name", ["labels.csv"])
def test_text_may_not_be_a_link_out(raw: Path, name: str) -> None:
    (raw / name).rename("elsewhere.csv")
    (raw / name).symlink_to(Path("elsewhere.csv").absolute())
    with pytest.raises(PipelineError, match=f"{name}: a link out of the corpus folder"):
        registry.parse("table", raw)


def test_hidden_files_within_are_read_where_a_row_names_them(raw: Path) -> None:
    (raw / "a.wav").rename(raw / ".a.wav")
    (raw / "labels.csv").write_text("path,emotion,speaker\n.a.wav,sad,s\n")
    assert [row.source for row in registry.parse("table", raw).rows] == [".a.wav"]
