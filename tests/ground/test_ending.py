"""Signals in the worst places: each ends the process by one line, and what was begun is undone."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.ground.code import ROOT
from tests.patience import PATIENCE_S

ENDS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
each_signal = pytest.mark.parametrize(("number", "status", "word"), ENDS)
HEAD = """
import os, signal, sys
from pathlib import Path
from pipeline.ground import ending, files
signal.signal(signal.SIGINT, signal.default_int_handler)
ending.take_signals()
number = int(sys.argv[1])
def now():
    signal.raise_signal(number)
    print("it went on", file=sys.stderr)
"""
# Where an exception would be swallowed, changed into another or leave something half done.
PLACES = {
    "a finaliser": """
class Thing:
    def __del__(self): now()
Thing()
""",
    "a library that takes any exception": """
try: now()
except BaseException: pass
""",
    "an import": """
Path("bad.py").write_text("import __main__; __main__.now()")
sys.path.insert(0, ".")
import bad
""",
    "a line that is printed": """
class Stream:
    def write(self, text): now()
print("x", file=Stream())
""",
    "its own handling": """
with ending.undone(lambda: signal.raise_signal(number)): now()
""",
    "the writing of an output": """
with files.publish(Path("artifacts/new")) as staged:
    staged.mkdir()
    (staged / "half").touch()
    now()
""",
    "a second output within the first": """
with files.publish(Path("artifacts/new")) as staged:
    with files.publish(Path("artifacts/other")) as other:
        staged.mkdir(); other.mkdir()
        now()
""",
}
# Commands that read or prepare in a folder of their own, each interrupted within.
IN_FOLDERS = {
    "ser compare": """
from pipeline.cli import compare
compare._predictions(Interrupted(), ())
""",
    "ser search": """
from pipeline.cli.ahead import trials
trials.of_experiment(Interrupted(), ())
""",
    "ser ablation": """
from pipeline.cli.studies import ablation
ablation._scores([Interrupted()], "pretrained", "full", 100)
""",
    "ser curve": """
from pipeline.scoring.believe import curves
curves._point(0.5, [Interrupted()], (), None)
""",
    "ser preset": """
from pipeline.cli import preset
preset.load = lambda *_: now()
preset.require_sound("")
""",
    "ser predict": """
from pipeline.cli import predict
from pipeline.inference import searching
searching.audio_files = lambda _: now()
Path("model").mkdir()
predict.main(
    [Path("x.wav")], "model", segments="", segment_s=None, hop_s=0, smooth_s=0, stream_hz=0,
    form="table", as_json=False, out=None, backend="torch", classes="", sure=None, device="cpu",
    threads=1,
)
""",
    "ser init": """
import shutil
from pipeline.cli.start import init
shutil.copytree = lambda *_: now()
init._place(Path("here"), Path("data/raw/mine"), None)
""",
    "a database in audformat": """
from pipeline.corpora.parsers import audformat
class Database(dict):
    def __getitem__(self, _): now()
audformat._load(Path("."), Database(), {"one": Path("db.one.csv")})
""",
    "a job of Slurm": """
from pipeline.ground.launch import batch
batch._sbatch = lambda *_: now()
batch.run("a stage", ["sbatch"], ["true"])
""",
}
OF_EXPERIMENTS = """
class Interrupted:
    params = {"multitask": {"task": "emotion"}, "evaluate": {}}
    systems = {("emotion", "pretrained", "full"): [0]}
    def copied(self, system, folder): (folder / "half").touch(); now()
    predictions = copied
"""
BETWEEN_RENAMES = """
with files.publish(Path("artifacts/old")) as staged: staged.mkdir(); (staged / "old").touch()
rename = Path.rename
def renamed(path, goal):
    rename(path, goal)
    if goal.name == "old~old": now()
Path.rename = renamed
with files.publish(Path("artifacts/old")) as staged: staged.mkdir(); (staged / "new").touch()
"""


def run(project: Path, code: str, number: int, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code, str(int(number))],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stderr


@each_signal
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_ends_the_process_wherever_it_comes(
    project: Path, place: str, number: int, status: int, word: str
) -> None:
    told = run(project, PLACES[place], number)
    assert told == (status, f"{word}, run it again to resume\n")
    assert not (project / "artifacts/new").exists()
    assert not [*(project / "artifacts").glob(".staging/*")]


@each_signal
@pytest.mark.parametrize("command", IN_FOLDERS)
def test_a_command_leaves_no_folder_behind(
    project: Path, command: str, number: int, status: int, word: str
) -> None:
    (project / "temporary").mkdir()
    code, place = OF_EXPERIMENTS + IN_FOLDERS[command], str(project / "temporary")
    told = run(project, code, number, TMPDIR=place)
    assert told == (status, f"{word}, run it again to resume\n")
    assert not [*(project / "temporary").iterdir(), *(project / "data").rglob(".init-*")]


def test_whoever_else_makes_one_has_it_undone_or_no_signal_to_undo_it() -> None:
    """Outside `ending.folder`: kept, or in a caller's folder."""
    makes = re.compile(r"\btempfile\.(TemporaryDirectory|NamedTemporaryFile|mk\w+)")
    found = {
        str(path.relative_to(ROOT / "pipeline")): makes.findall(path.read_text("utf-8"))
        for path in (ROOT / "pipeline").rglob("*.py")
    }
    assert {name: each for name, each in found.items() if each} == {
        "inference/cluster/hearing.py": ["NamedTemporaryFile"],
        "inference/timeline/reading.py": ["NamedTemporaryFile"],
        "work/store.py": ["mkstemp"],
    }


@each_signal
def test_between_two_renames_the_old_folder_comes_back(
    project: Path, number: int, status: int, word: str
) -> None:
    assert run(project, BETWEEN_RENAMES, number)[0] == status
    assert (project / "artifacts/old/old").exists()
    assert not [*(project / "artifacts/.staging").iterdir()]


def test_a_fork_undoes_nothing_of_its_parent(project: Path) -> None:
    code = """
with files.publish(Path("artifacts/new")) as staged:
    staged.mkdir()
    if not os.fork(): now()
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 143
"""
    assert run(project, code, signal.SIGTERM) == (0, "")
    assert (project / "artifacts/new").is_dir()


def test_a_signal_that_was_ignored_stays_so(project: Path) -> None:
    """As under nohup, and Ctrl-C in a shell's background jobs."""
    code = "signal.signal(number, signal.SIG_IGN); ending.take_signals(); now()"
    for number, _, _ in ENDS:
        assert run(project, code, number) == (0, "it went on\n")


def test_once_all_is_done_signals_change_nothing(project: Path) -> None:
    for number, _, _ in ENDS:
        assert run(project, "ending.ignore_signals(); now()", number) == (0, "it went on\n")


def test_what_stays_to_the_end_is_not_looked_through_then(project: Path) -> None:
    code = """
import gc
class Told:
    def __init__(self): self.own = self
    def __del__(self): print("found", file=sys.stderr)
one, other = Told(), Told()
ending.collect_seldom()
del other
gc.collect()
"""
    assert run(project, code, signal.SIGTERM) == (0, "found\n")


def test_a_terminal_gets_its_cursor_back(project: Path) -> None:
    """A live bar hides it."""
    code = """
import pty
read, write = pty.openpty()
if not os.fork():
    os.dup2(write, 2); ending.take_signals(); now()
print(os.read(read, 100))
"""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code, str(int(signal.SIGTERM))],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert r"\x1b[?25hterminated, run it again to resume\r\n" in done.stdout


@each_signal
def test_ser_answers_as_a_stage_does(project: Path, number: int, status: int, word: str) -> None:
    code = f"""
import signal, sys
from pipeline.cli import main, show
signal.signal(signal.SIGINT, signal.default_int_handler)
show.main = lambda: signal.raise_signal({int(number)})
sys.argv[1:] = ["show"]
main.app()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (status, f"{word}, run it again to resume\n")


@each_signal
def test_a_stage_answers_from_its_first_import_on(
    project: Path, number: int, status: int, word: str
) -> None:
    """Typer's import takes longer than many a stage."""
    (project / "typer.py").write_text(f"import signal; signal.raise_signal({number})")
    done = subprocess.run(
        [sys.executable, "-m", "stages.plan"],
        env=os.environ | {"PYTHONPATH": f"{project}:{ROOT}"},
        # A shell's background jobs ignore Ctrl-C, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (status, f"{word}, run it again to resume\n")
