"""A service under load: ``python -m benchmarks.serve MODEL FOLDER``.

Clients on this machine, which share its cores with the service, send the recordings below FOLDER as
fast as they are answered. Printed are requests a second, the median and the 99th percentile of an
answer's time, the service's memory before each quarter of the time and at the end, and how many
answers were others than `ser predict --json` gives of the same file.
"""

import http.client
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

QUARTERS = 4
SER = (sys.executable, "-m", "ser_pipeline")


@dataclass
class Tally:
    """What the clients met: seconds of each answer, statuses, and wrong answers."""

    times_s: list[float] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)
    wrong: int = 0


def main(
    model: Annotated[Path, typer.Argument(help="What `ser export` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Recordings.")],
    seconds: Annotated[float, typer.Option(help="Of load.")] = 120.0,
    clients: Annotated[int, typer.Option(help="At once.")] = 32,
    threads: Annotated[int, typer.Option(help="That compute.")] = 2,
) -> None:
    """Load the service and print what it does."""
    known = truth(model, folder, threads)
    command = [*SER, "serve", str(model), "--port", "0", "--threads", str(threads)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert running.stderr
    try:
        while "serving " not in (line := running.stderr.readline()):
            assert line, "it did not start"
        port = int(line.rpartition(":")[2])
        memory, tally = load(running.pid, port, known, seconds, clients)
        running.terminate()
        status = running.wait(60)
    finally:
        running.kill()
    tell(tally, memory, seconds, clients, status)


def truth(model: Path, folder: Path, threads: int) -> dict[Path, object]:
    """What `ser predict` says of each recording."""
    command = [*SER, "predict", str(folder), "--model", str(model), "--json"]
    done = subprocess.run(
        [*command, "--threads", str(threads)], capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(one["file"]): one | {"file": "-"} for one in found}


def load(
    process: int, port: int, known: dict[Path, object], seconds: float, clients: int
) -> tuple[list[float], Tally]:
    """The memory in MiB, before each quarter and at the end, and what became of the requests."""
    tally, stop = Tally(), time.monotonic() + seconds
    bodies = {path: path.read_bytes() for path in known}

    def client(seed: int) -> None:
        draw, places = random.Random(seed), list(known)  # noqa: S311
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        while time.monotonic() < stop:
            path = draw.choice(places)
            start = time.monotonic()
            connection.request("POST", "/predict", bodies[path])
            answer = connection.getresponse()
            content = answer.read()
            tally.codes[answer.status] += 1
            if answer.status == 200:
                tally.times_s.append(time.monotonic() - start)
                tally.wrong += json.loads(content) != [known[path]]
            elif answer.status == 429:
                time.sleep(float(answer.headers["Retry-After"]))

    started = [threading.Thread(target=client, args=[seed]) for seed in range(clients)]
    for one in started:
        one.start()
    memory = []
    for _ in range(QUARTERS):
        memory.append(memory_mib(process))
        time.sleep(seconds / QUARTERS)
    for one in started:
        one.join()
    return [*memory, memory_mib(process)], tally


def memory_mib(process: int) -> float:
    """What a process holds of the machine's memory."""
    lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def tell(tally: Tally, memory: list[float], seconds: float, clients: int, status: int) -> None:
    """Print it."""
    times_s = sorted(tally.times_s)
    cuts = statistics.quantiles(times_s, n=100)
    print(f"{clients} clients, {seconds:.0f} s: {len(times_s)} answers, {dict(tally.codes)}")
    print(f"requests a second: {len(times_s) / seconds:.1f}")
    print(f"an answer: p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms")
    print(f"memory before each quarter and at the end, MiB: {[round(one) for one in memory]}")
    print(f"answers other than ser predict's: {tally.wrong}; exit status {status}")


if __name__ == "__main__":
    typer.run(main)
