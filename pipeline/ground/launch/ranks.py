"""Whether this process was launched, and which of a step of Slurm it is.

`torchrun` and `accelerate launch` tell their processes in the variables that torch reads; Slurm
tells its own, from which these follow.
"""

import os
import re
import socket
import zlib
from collections.abc import Mapping, MutableMapping

from pipeline.ground.errors import PipelineError
from pipeline.ground.launch.prefix import LAUNCHED

# Above the ports of services, below those that systems hand out to whoever asks for any.
_FIRST_PORT, _PORTS = 20_000, 10_000


def launched() -> bool:
    """Whether `runtime.launcher` started this process, or a launcher by hand."""
    return LAUNCHED in os.environ or "RANK" in os.environ


def take_step(environment: MutableMapping[str, str]) -> None:
    """Name this task of a step of Slurm as torch wants it, where there are several."""
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if "RANK" in environment or tasks == "1":
        return
    step = f"{environment['SLURM_JOB_ID']}.{environment['SLURM_STEP_ID']}"
    environment.update(
        RANK=environment["SLURM_PROCID"],
        WORLD_SIZE=tasks,
        LOCAL_RANK=environment["SLURM_LOCALID"],
        MASTER_ADDR=first_host(environment["SLURM_STEP_NODELIST"]),
        MASTER_PORT=str(_FIRST_PORT + zlib.crc32(step.encode()) % _PORTS),
    )


def require_meeting_place(environment: Mapping[str, str]) -> None:
    """Raise PipelineError where the node on which the processes meet has no address here.

    torch would wait for it in silence, for minutes.
    """
    host = environment.get("MASTER_ADDR", "")
    try:
        if host:
            socket.getaddrinfo(host, None)
    except OSError as error:
        raise PipelineError(
            f"MASTER_ADDR: node {host} has no address on {socket.gethostname()} "
            f"({error.strerror}), add it to the DNS or to /etc/hosts of all nodes"
        ) from error


def first_host(nodes: str) -> str:
    """The first of a list such as ``gpu[03-05,11],cpu1``, on which the first task runs."""
    head, numbers, tail = re.findall(r"([^,\[]*)(?:\[([^\],-]*)[^\]]*\])?([^,\[]*)", nodes)[0]
    return f"{head}{numbers}{tail}"
