"""`ser` where Git or DVC is missing, damaged or busy: one line of whatever asks them."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.cli import main as cli
from pipeline.cli.dvc import dvc
from pipeline.ground import params
from pipeline.ground.code import ROOT
from tests.recordings import record

COMMANDS = [
    "status",
    "adopt",
    "adopt --dry-run",
    "cache ls",
    "cache verify",
    "cache gc",
    "show --experiments",
    "compare workspace HEAD",
    "compare a b --seeds",
    "ablation",
    "preset ravdess --dry-run",
]
# They ask neither, or need no answer.
APART = {"cache ls", "cache gc", "preset ravdess --dry-run"}


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Someone", "-c", "user.email=someone@example.org")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def sound(folder: Path) -> None:
    """A clone in which nothing ran, with an upgrade that `ser adopt` is asked about."""
    for name in ("dvc.yaml", "dvc.lock", "code.yaml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "presets", folder / "presets")
    git(folder, "init", "-q")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a")
    text = (folder / "CHANGELOG.md").read_text("utf-8")
    new = text.replace("### Results\n", "### Results\n\n- unchanged: this\n", 1)
    (folder / "CHANGELOG.md").write_text(new, "utf-8")


def without_git(folder: Path) -> None:
    shutil.rmtree(folder / ".git")


def empty_git(folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    (folder / ".git").mkdir()


def of_a_worktree_that_is_gone(folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    (folder / ".git").write_text("gitdir: /nowhere\n")


def without_commits(folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    git(folder, "init", "-q")


def put(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return write


# What is done to a sound clone, and what `ser status` says; nothing where it is no matter to it.
HARM: dict[str, tuple[Callable[[Path], None], str]] = {
    "no Git": (without_git, "is not a git repository, run it in the project's root"),
    "an empty .git": (empty_git, "is not a git repository, run it in the project's root"),
    "a lost worktree": (of_a_worktree_that_is_gone, ""),
    "no commit": (without_commits, ""),
    "Git's config": (put(".git/config", b"[core\n x"), "expected trailing ]"),
    "Git's HEAD": (put(".git/HEAD", b"\x00garbage"), ""),
    "a lost experiment": (put(".git/refs/exps/ab/cd/x", b"f" * 40 + b"\n"), ""),
    "a section": (put(".dvc/config", b"[core\nremote = 1\n"), "config file error"),
    "a key": (put(".dvc/config", b"[core]\n    remoteness = 1\n"), "config file error"),
    "bytes": (put(".dvc/config", b"\xff\xfe[core]\n"), "config file error"),
    "dvc.yaml": (put("dvc.yaml", b"stages: [\n"), "dvc.yaml"),
    "stages": (put("dvc.yaml", b"stages: 5\n"), "dvc.yaml"),
}


@pytest.fixture
def clone(project: Path) -> Path:
    sound(project)
    return project


def ser(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, list[str]]:
    params.read.cache_clear()
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.app(command.split())
    return int(ended.value.code or 0), capsys.readouterr().err.splitlines()


def require_one_line(capsys: pytest.CaptureFixture[str], folder: Path, fails: bool) -> None:
    """Of every command; nothing of the user's is touched."""
    held = {name: (folder / name).read_bytes() for name in ("params.yaml", "dvc.lock")}
    for command in COMMANDS:
        status, told = ser(capsys, command)
        assert (status, len(told)) in ((0, 0), (1, 1)), (command, told)
        assert status or command in APART or not fails, command
    assert held == {name: (folder / name).read_bytes() for name in held}


@pytest.mark.parametrize("name", HARM)
def test_what_is_damaged_is_one_line(
    clone: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    harm, told = HARM[name]
    harm(clone)
    require_one_line(capsys, clone, fails=False)
    status, lines = ser(capsys, "status")
    assert (status == 1) == bool(told)
    assert told in "".join(lines)


def test_a_folder_with_params_alone_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in COMMANDS:
        status, told = ser(capsys, command)
        expected = (0, 0) if command in ("cache ls", "cache gc") else (1, 1)
        assert (status, len(told)) == expected, (command, told)


@contextmanager
def busy(folder: Path) -> Iterator[None]:
    """As while another DVC runs here."""
    from dvc.lock import make_lock

    (folder / ".dvc/tmp").mkdir()
    lock = make_lock(str(folder / ".dvc/tmp/lock"), tmp_dir=str(folder / ".dvc/tmp"))
    lock.lock()
    yield
    lock.unlock()


def test_a_busy_repository_is_waited_for_by_whoever_asks(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with busy(clone):
        for command in ("status", "show --experiments", "ablation", "adopt"):
            status, (line,) = ser(capsys, command)
            assert status == 1 and "nable to acquire lock" in line, line
            if command != "adopt":
                assert "wait until the other" in line
    assert ser(capsys, "status")[0] == 0


def test_what_only_shows_writes_nothing(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def held() -> dict[Path, bytes]:
        own = [path for path in clone.rglob("*") if path.is_file()]
        mine = [path for path in own if path.relative_to(clone).parts[0] not in (".git", ".dvc")]
        return {path: path.read_bytes() for path in mine}

    record(clone / "voices/anna/joy.wav")
    record(clone / "voices/anna/anger.wav")
    (clone / "code.yaml").write_text("cluster: of other code\n", "utf-8")
    before = held()
    shown = [command for command in COMMANDS if "--dry-run" in command]
    for command in (*shown, "init voices --dry-run", "status", "cache ls", "cache verify", "plan"):
        status, told = ser(capsys, command)
        assert status == 0, told
        assert held() == before, command


def test_no_git_to_ask_is_no_error_of_a_missing_file(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for command in ("status", "preset ravdess --dry-run", "cache verify"):
        assert ser(capsys, command) == (0, [])
    assert "was never committed" in ser(capsys, "adopt")[1][0]


def test_a_defect_of_ours_is_not_laid_at_dvcs_door(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise KeyError("ours")

    monkeypatch.setattr("pipeline.cli.status.read_lock", broken)
    with pytest.raises(KeyError, match="ours"):
        cli.app(["status"])
    monkeypatch.setattr("pipeline.cli.status.read_lock", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.app(["status"])


def test_a_failing_command_of_dvc_is_its_own_line(clone: Path) -> None:
    (clone / "dvc.yaml").write_text("stages: [\n")
    assert "dvc.yaml" in dvc(["repro", "code"])
