"""`ser serve` as it runs: a process of its own on a port of this machine."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.patience import PATIENCE_S, wait_until


class Process:
    """A service that answers; ``log`` is what it wrote to stderr so far."""

    def __init__(self, running: "subprocess.Popen[bytes]", log: Path) -> None:
        self.running, self._log = running, log
        wait_until(lambda: "serving " in self.log or running.poll() is not None)
        assert running.poll() is None, self.log
        self.port = int(re.findall(r"http://.*:(\d+)\n", self.log)[0])
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE_S)

    def predict(self, content: bytes, **headers: str) -> httpx.Response:
        address = f"{self.url}/predict"
        return httpx.post(address, content=content, headers=headers, timeout=PATIENCE_S)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)

    def number(self, name: str) -> float:
        """A value of `/metrics`."""
        lines = self.get("/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.running.pid}/fd").iterdir()))

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(PATIENCE_S)


@contextmanager
def serving(model: Path, *options: str, **environment: str) -> Iterator[Process]:
    """A service of a model, in an empty folder beside it, whose temporary files go to ``tmp``."""
    place = model.parent
    (place / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "ser_pipeline", "serve", str(model), "--port", "0"]
    known = {**os.environ, "TMPDIR": str(place / "tmp"), **environment}
    with (place / "log").open("wb") as log:
        running = subprocess.Popen(
            [*command, "--threads", "1", *options], cwd=place / "tmp", env=known, stderr=log
        )
    try:
        yield Process(running, place / "log")
    finally:
        running.kill()
        running.wait()
