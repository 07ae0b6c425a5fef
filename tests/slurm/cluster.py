"""Slurm on this machine, with everything of its own in one folder: `python -m tests.slurm.cluster`.

Debian's slurmctld, slurmd and munge; nodes of two processors, and two GPUs that are none. Several
nodes are as many slurmd on this machine. The command starts one in a temporary folder, prints what
to set, and stops it at Ctrl-C.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from getpass import getuser
from pathlib import Path

from tests.patience import wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "sinfo")
# A name that leads here: processes of a step find each other by their nodes' names.
HOST = socket.gethostname().partition(".")[0]
CONF = """
ClusterName=test
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1
KillWait=10
GresTypes=gpu
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory={memory} "
    "Gres=gpu:2 State=UNKNOWN"
)
# Slurm counts files as GPUs, and gives no program a path to what they are.
GRES = "Name=gpu File={folder}/gpu[0-1]\n"


def is_installed() -> bool:
    """Whether all its programs are here, and may be started: slurmd wants to be root."""
    return all(map(_place, PROGRAMS)) and os.geteuid() == 0


@contextmanager
def running(folder: Path, nodes: Sequence[str] = (HOST,)) -> Iterator[dict[str, str]]:
    """Start Slurm with its files in ``folder``; what its commands need of the environment."""
    _write(folder, nodes)
    here, slurm = str(folder), {"SLURM_CONF": str(folder / "slurm.conf")}
    munge = ["munged", "--foreground", f"--key-file={here}/munge.key", "--force"]
    munge += [f"--{name}={here}/munge.{name}" for name in ("socket", "pid-file", "log-file")]
    with ExitStack() as stack:
        stack.enter_context(_daemon([*munge, f"--seed-file={here}/munge.seed"], folder))
        wait_until((folder / "munge.socket").exists)
        stack.enter_context(_daemon(["slurmctld", "-D", "-c"], folder, slurm))
        for node in nodes:
            stack.enter_context(_daemon(["slurmd", "-D", "-N", node], folder, slurm))
        states = ["sinfo", "--noheader", "--Node", "--format=%t"]
        wait_until(lambda: _asked(states, slurm).split() == [b"idle"] * len(nodes))
        yield slurm
        _asked(["scancel", "--user", getuser()], slurm)
        wait_until(lambda: not _asked(["squeue", "--noheader"], slurm))


def _write(folder: Path, nodes: Sequence[str]) -> None:
    for name in ("state", *(f"spool-{node}" for node in nodes)):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        (folder / f"gpu{number}").touch()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in ("", *nodes)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        port, *ports = (each.getsockname()[1] for each in sockets)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 // 2
    lines = [
        NODE.format(name=name, host=HOST, port=own, memory=memory)
        for name, own in zip(nodes, ports, strict=True)
    ]
    known = {"host": HOST, "port": port, "user": getuser(), "nodes": "\n".join(lines)}
    text = CONF.format(folder=folder, **known)
    (folder / "slurm.conf").write_text(text, "utf-8")
    (folder / "gres.conf").write_text(GRES.format(folder=folder), "utf-8")


@contextmanager
def _daemon(
    words: Sequence[str], folder: Path, environment: dict[str, str] | None = None
) -> Iterator[None]:
    """Run a daemon in the foreground for the block; its output lies beside its files."""
    with (folder / f"{words[0]}.out").open("ab") as out:
        process = subprocess.Popen(
            [_place(words[0]) or words[0], *words[1:]],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _asked(words: Sequence[str], environment: dict[str, str]) -> bytes:
    done = subprocess.run(
        words, env={**os.environ, **environment}, capture_output=True, check=False
    )
    return done.stdout


def _place(program: str) -> str | None:
    """Where a program is; daemons are not always in a user's PATH."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made, running(Path(made)) as found:
        for name, value in found.items():
            print(f"export {name}={value}")  # noqa: T201
        sys.stdout.flush()
        ends = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        signal.sigwait(ends)
