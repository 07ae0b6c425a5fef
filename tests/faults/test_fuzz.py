"""Mutated input of every format that a user hands in: refused in one line or read, never a crash.

A seeded mutator damages sound files; each result must be read or raise a `PipelineError` of one
line, within seconds and in bounded memory. `make fuzz` tries 10,000, `make test` a few hundred.
"""

import os
import random
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import JsonValue

from pipeline.audio import decoding, flac
from pipeline.corpora import manifest, registry
from pipeline.ground import files, params
from pipeline.ground.errors import PipelineError
from pipeline.scoring import scores
from pipeline.splits import folds
from tests.faults import chain
from tests.recordings import record, tone

LONG, SHORT = 560, 15  # inputs of each seed file
LIMIT_S = 20  # of CPU time, so that a busy machine changes nothing
MEMORY_BYTES = 4 * 2**30  # more than the process has when it starts
TOKENS = [
    b"\0", b"\xff", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"'", b",", b"\n", b"\r", b"\t", b":",
    b"nan", b"1e999", b"-1", b"9" * 5000, b"2001-13-45", b"&a [*a]", b"*a", b"<<: ", b"!!binary x",
    b"!!python/object/apply:os.system [true]", b"[" * 3000, b"{" * 3000, b"? ", b"- ",
    b"../../x", b"/etc/passwd", b"\xe2\x80\xae", b"data", b"fmt ", b"\xff\xff\xff\xff", b"\x7f" * 8,
]  # fmt: skip

Read = Callable[[Path], object]


def mutated(seed: bytes, draw: random.Random) -> bytes:
    """One to three damages: bits, bytes, tokens, cuts, repeats."""
    found = bytearray(seed)
    for _ in range(draw.randint(1, 3)):
        # Headers are short, and most of what can go wrong goes wrong there.
        end = len(found) if draw.random() < 0.5 else min(len(found), 100)
        at = draw.randrange(end + 1)
        stop = min(len(found), at + draw.choice([1, 2, 4, 8, 100]))
        match draw.randrange(7):
            case 0 if at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                found[at:stop] = draw.randbytes(stop - at)
            case 2:
                found[at:at] = draw.choice(TOKENS)
            case 3:
                found[at:stop] = draw.choice(TOKENS)
            case 4:
                del found[at:stop]
            case 5:
                found[at:at] = found[at:stop] * draw.choice([1, 2, 1000])
            case 6:
                del found[at if draw.random() < 0.2 else len(found) :]
    return bytes(found)


def decode(path: Path) -> object:
    return decoding.decode(path, max_s=600.0)


def label_file(path: Path) -> object:
    return registry.parse("table", path.parent)


def manifest_file(path: Path) -> object:
    return manifest.read(["demo"], path.parent.parent)


def predictions(path: Path) -> object:
    return scores.read_classifier({0: path}, ["happy", "sad"])


def every_key(path: Path) -> object:
    params.read.cache_clear()
    return [params.load(key, JsonValue, path) for key in params.KEYS]  # type: ignore[arg-type]


def sections(path: Path) -> object:
    params.read.cache_clear()
    from stages import cluster, extract, preprocess, split

    return [
        params.load("preprocess", preprocess.PreprocessParams, path),
        params.load("split", split.SplitParams, path),
        params.load("extract", extract.ExtractParams, path),
        params.load("cluster", cluster.ClusterParams, path),
    ]


def sounds(folder: Path) -> dict[Path, Read]:
    """A small file of every kind that `preprocess` decodes, and a clip."""
    stereo = np.stack([tone(0.1), tone(0.1, 300.0)], 1)
    clip = folder / "clip.flac"
    flac.write_flac(clip, tone(0.3))
    return {
        record(folder / "pcm16.wav", tone(0.1)): decode,
        record(folder / "stereo24.wav", stereo, 44_100, subtype="PCM_24", format="WAVEX"): decode,
        record(folder / "float.wav", tone(0.1), subtype="FLOAT"): decode,
        record(folder / "mulaw.wav", tone(0.1), 8_000, subtype="ULAW"): decode,
        record(folder / "pcm16.flac", tone(0.3)): decode,
        record(folder / "stereo24.flac", stereo, 48_000, subtype="PCM_24"): decode,
        record(folder / "a.aiff", tone(0.1)): decode,
        record(folder / "a.ogg", tone(0.3)): decode,
        record(folder / "a.mp3", tone(0.3)): decode,
        clip: flac.read_clip,
    }


def tables(project: Path) -> dict[Path, Read]:
    """The CSV files that users write, and those that stages hand on; none has its checksum."""
    for sums in project.glob("artifacts/**/*SHA256SUMS"):
        sums.unlink()
    (project / "artifacts/folds.csv.sha256").unlink()
    trained = project / chain.CLASSIFIERS / "pretrained/lora-qkv/0"
    return {
        project / "data/raw/demo/labels.csv": label_file,
        project / "artifacts/clips/demo/manifest.csv": manifest_file,
        project / "artifacts/folds.csv": folds.read_all,
        trained / "predictions.csv": predictions,
        trained / "history.csv": scores.read_history,
    }


def settings(project: Path) -> dict[Path, Read]:
    """params.yaml without what takes long to parse, and a JSON file that a stage hands on."""
    path, read_json = project / "params.yaml", files.read_json
    kept = "\n".join(line.split("#")[0].rstrip() for line in path.read_text("utf-8").splitlines())
    path.write_text(kept, "utf-8")
    short = dict.fromkeys(params.KEYS, "0")
    spans = [("preprocess", "pretrain"), ("extract", "multitask"), ("cluster", "retrain")]
    body = "".join(kept[kept.index(f"\n{a}:") : kept.index(f"\n{b}:")] for a, b in spans)
    for key in ("preprocess", "split", "extract", "cluster"):
        del short[key]
    path.write_text("\n".join(f"{k}: {v}" for k, v in short.items()) + "\n" + body, "utf-8")
    again = path.with_name("again.yaml")
    again.write_bytes(path.read_bytes())
    (project / "fbank").mkdir()
    config = project / "fbank/config.json"
    config.write_bytes((project / "artifacts/encoders/fbank/config.json").read_bytes())
    return {path: sections, again: every_key, config: read_json}


def fuzz(path: Path, read: Read, count: int) -> tuple[int, int]:
    """How many of ``count`` mutants were read and how many were refused."""
    seed, draw, accepted = path.read_bytes(), random.Random(path.name), 0
    read(path)
    for number in range(count):
        path.write_bytes(mutated(seed, draw))
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            read(path)
            accepted += 1
        except PipelineError as error:
            assert len(str(error).splitlines()) == 1, (number, str(error))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return accepted, count - accepted


def allow(memory_bytes: int) -> None:
    """Refuse this process more memory than it has already and ``memory_bytes``."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (held + memory_bytes, most))


def apart(work: Callable[[], Any], log: Path) -> str:
    """Run in a fork with bounded memory, since a decoder may take the process with it."""
    if (child := os.fork()) == 0:
        status, told = 1, "hangs"
        try:
            allow(MEMORY_BYTES)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libmpg123 comments on every frame
            told = repr(work())
            status = 0
        except BaseException:  # noqa: BLE001
            told = traceback.format_exc()
        finally:
            log.write_text(told, "utf-8")
            os._exit(status)
    _, status = os.waitpid(child, 0)
    # By a signal, such as that of the alarm, nothing is logged.
    assert status == 0, log.read_text("utf-8") if log.is_file() else f"ended by signal {status}"
    return log.read_text("utf-8")


@pytest.mark.parametrize("kind", [sounds, tables, settings])
def test_no_mutant_is_a_traceback_or_a_hang(
    copied: Path,
    kind: Callable[[Path], dict[Path, Read]],
    request: pytest.FixtureRequest,
    tell: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(copied)
    count = LONG if request.config.getoption("--long") else SHORT
    accepted = refused = 0
    for path, read in kind(copied).items():

        def work(path: Path = path, read: Read = read) -> tuple[int, int]:
            return fuzz(path, read, count)

        read_, refused_ = map(int, apart(work, copied / "log").strip("()").split(","))
        accepted, refused = accepted + read_, refused + refused_
    # Both happen, else the mutator is too gentle or too rough to show anything.
    assert min(accepted, refused) > 0.02 * (accepted + refused), (accepted, refused)
    tell(f"mutants of {kind.__name__}", accepted + refused)
