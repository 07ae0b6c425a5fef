"""What the Dockerfile runs, without a daemon: its commands in an empty environment (`make web`)."""

import json
import os
import re
import shutil
import signal
import subprocess
import venv
from pathlib import Path

import httpx

from pipeline.ground.code import ROOT
from tests.patience import PATIENCE_S, wait_until
from tests.recordings import record, tone
from tests.torchrun import free_port

TEXT = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "")
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
RUNS = [line.removeprefix("RUN ") for line in LINES if line.startswith("RUN ")]
TOKEN = "t" * 32


def command(name: str) -> list[str]:
    """That of CMD or HEALTHCHECK, in their JSON form."""
    (line,) = [line for line in LINES if re.match(rf"{name}\b", line)]
    found: list[str] = json.loads(line[line.index("[") :])
    return found


def context(place: Path) -> None:
    """What .dockerignore leaves of the repository."""
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    for name in kept:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name)
        else:
            place.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, place)


def test_it_runs_as_nobody_with_a_health_check_and_small() -> None:
    *_, user = [line.split()[1] for line in LINES if line.startswith("USER ")]
    assert user not in ("root", "0")
    assert f"--no-create-home {user}" in RUNS[-1]
    assert command("CMD")[:2] == ["ser", "serve"]
    assert "/health" in command("HEALTHCHECK")[-1]
    # The second stage has what the first one built, and no compiler.
    last = TEXT[TEXT.rindex("\nFROM ") :]
    assert "COPY --from=build /venv" in last
    assert [line for line in last.splitlines() if "pip " in line or "COPY ." in line] == []


def test_no_secret_can_be_baked_into_it() -> None:
    assert not re.search(r"(ENV|ARG)[^\n]*TOKEN", TEXT)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert not {"!data", "!artifacts", "!.git", "!.dvc"} & set(lines)


def test_its_commands_make_a_service(model: Path, tmp_path: Path, web: None) -> None:
    context(tmp_path / "src")
    venv.create(tmp_path / "image", with_pip=True)
    plain = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "VIRTUAL_ENV")}
    # From the index that pip knows here: torch's own is not at hand everywhere.
    shell = plain | {"PATH": f"{tmp_path}/image/bin:/usr/bin:/bin", "TORCH": "gpu"}
    system = [one for one in RUNS if one.startswith("apt-get")]
    assert len(system) == 1
    for one in RUNS:
        if one not in system:
            placed = re.sub(r"(?<![\w.])/(dist|venv)\b", rf"{tmp_path}/\1", one)
            subprocess.run(["sh", "-ec", placed], cwd=tmp_path / "src", env=shell, check=True)

    port = str(free_port())

    def placed_in(words: list[str]) -> list[str]:
        return [one.replace("8000", port).replace("/model", str(model)) for one in words]

    inside = plain | {"PATH": f"{tmp_path}/venv/bin:/usr/bin:/bin", "SER_TOKEN": TOKEN}
    program = shutil.which(command("CMD")[0], path=inside["PATH"])
    assert program
    assert Path(program).is_relative_to(tmp_path)
    running = subprocess.Popen([program, *placed_in(command("CMD")[1:])], cwd="/", env=inside)
    try:

        def is_healthy() -> bool:
            python = str(tmp_path / "venv/bin/python")
            done = subprocess.run(
                [python, *placed_in(command("HEALTHCHECK")[1:])],
                env=inside,
                capture_output=True,
                check=False,
            )
            return done.returncode == 0 or running.poll() is not None

        wait_until(is_healthy)
        assert running.poll() is None
        content = record(tmp_path / "a.wav", tone(1.0)).read_bytes()
        address, given = f"http://127.0.0.1:{port}/predict", {"authorization": f"Bearer {TOKEN}"}
        assert httpx.post(address, content=content).status_code == 401
        answer = httpx.post(address, content=content, headers=given, timeout=PATIENCE_S)
        assert answer.json()[0]["emotion"] in ("angry", "sad", "happy")
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE_S) == 0
    finally:
        running.kill()
        running.wait()
