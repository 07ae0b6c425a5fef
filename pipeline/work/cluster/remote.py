"""Work on many items at once on a cluster of Ray: `pool.forked` for many machines.

Each worker prepares once and then makes results of payloads; this process alone reads and writes
files. Items are handed out in order, few ahead of the one that is waited for, so that memory stays
flat. What a lost worker had begun is begun again by another; a machine that joins later helps.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.ground import stage
from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import say
from pipeline.ground.stage import Runtime
from pipeline.work import pool
from pipeline.work.cluster import likeness, losses
from pipeline.work.cluster.luggage import Luggage
from pipeline.work.cluster.session import joined
from pipeline.work.cluster.worker import Task, Worker

Item = TypeVar("Item")

LOOK_EVERY_S = 1.0
# How far ahead of the item that is waited for others are begun, for each worker.
AHEAD = 4
# How long a run waits for a first free CPU, or for another after the last worker was lost.
PATIENCE_S = 60.0
# What a worker is asked for beside items, which have numbers from 0 on.
_PLACE, _PREPARE = -2, -1


def spread(
    task: Task, items: Sequence[Item], pack: Callable[[Item], Any] = lambda item: item
) -> Iterator[Any]:
    """Yield what ``task`` makes of ``pack(item)``, in order; the workers are ``runtime``'s.

    Args:
        task: What each worker prepares and does.
        items: What the results are of.
        pack: Of an item all that a worker needs, which may not see this disk. It is called in this
            process, shortly before the item is begun.

    Raises:
        PipelineError: Ray is missing or does not answer, no CPU is free, a worker differs from
            this machine, or dies again and again; also whatever the work raises.
    """
    if not items:
        return
    runtime, began_s = stage.runtime(), time.monotonic()
    with joined(runtime) as ray:
        yield from _Fleet(ray, runtime, task, began_s).results(items, pack)


@dataclass(eq=False)
class _Member:
    """A worker: its actor, the node it is on, and the numbers of the items that it has begun."""

    actor: Any
    node: str
    host: str
    placed: bool = False
    ready: bool = False
    numbers: set[int] = field(default_factory=set)


class _Fleet:
    """The workers of one task, as many as the nodes of the cluster have CPUs, or GPUs."""

    def __init__(self, ray: Any, runtime: Runtime, task: Task, began_s: float) -> None:
        self._ray, self._runtime, self._task = ray, runtime, task
        luggage = Luggage.of(task.files)
        self._facts = task.facts(luggage, runtime.threads)
        self._luggage = ray.put(luggage)
        self._members: list[_Member] = []
        self._left_out: set[str] = set()
        self._begun: dict[Any, tuple[_Member, int]] = {}
        self._losses = losses.Losses()
        self._looked_s, self._manned_s = 0.0, time.monotonic()
        self._told = ""
        self._began_s = began_s

    def results(self, items: Sequence[Any], pack: Callable[[Any], Any]) -> Iterator[Any]:
        """What the work makes of each item, in order."""
        left, waiting = deque(range(len(items))), dict[int, bytes]()
        for turn in range(len(items)):
            looked = False
            while turn not in waiting or not looked:
                self._man(len(items) - turn)
                for member, number in self._due(left, turn):
                    try:
                        payload = pack(items[number])
                    except Exception as error:  # noqa: BLE001
                        waiting[number] = pool.failure(error)
                    else:
                        member.numbers.add(number)
                        self._begun[member.actor.work.remote(payload)] = member, number
                looked = True
                waiting |= self._answers(left, 0.0 if turn in waiting else LOOK_EVERY_S)
            yield pool.result(waiting.pop(turn))

    def _man(self, wanted: int) -> None:
        """Have a worker for each free place, now and then, and say how many there are."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        places = 0
        alive = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        self._losses.keep(alive)
        for name, node in alive.items():
            if name not in self._left_out:
                size = self._size(node["Resources"])
                places += size
                if self._losses.rests(name, now_s):
                    continue
                own = sum(member.node == name for member in self._members)
                for _ in range(min(size - own, wanted - len(self._members))):
                    self._start(node)
        self._require_any(places, now_s)

    def _size(self, resources: dict[str, float]) -> int:
        size = int(resources.get("CPU", 0) // self._runtime.threads)
        return min(size, int(resources.get("GPU", 0))) if self._task.gpus else size

    def _start(self, node: dict[str, Any]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = {
            "num_cpus": self._runtime.threads,
            "num_gpus": self._task.gpus,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        }
        actor = self._ray.remote(Worker).options(**options).remote(self._runtime.threads)
        host = f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"
        member = _Member(actor, node["NodeID"], host)
        self._members.append(member)
        self._begun[actor.is_there.remote()] = member, _PLACE

    def _due(self, left: deque[int], turn: int) -> Iterator[tuple[_Member, int]]:
        """Who is to begin which item: one for each worker, then one more, so that none waits.

        The last ones are for whoever is done first.
        """
        ready = [member for member in self._members if member.ready]
        end = turn + AHEAD * len(ready)
        for depth, kept in ((1, 0), (2, 2 * len(ready))):
            for member in ready:
                if len(member.numbers) < depth and len(left) > kept and left[0] < end:
                    yield member, left.popleft()

    def _answers(self, left: deque[int], patience_s: float) -> dict[int, bytes]:
        """What has become of items meanwhile; those of lost workers are ``left`` again."""
        if not self._begun:
            time.sleep(min(patience_s, 0.1))
            return {}
        done, _ = self._ray.wait(list(self._begun), num_returns=1, timeout=patience_s)
        if done:  # and whatever else there is
            done, _ = self._ray.wait(list(self._begun), num_returns=len(self._begun), timeout=0)
        found = {}
        for ref in done:
            if ref not in self._begun:  # it went with its worker
                continue
            member, number = self._begun.pop(ref)
            try:
                answer = self._ray.get(ref)
            except self._ray.exceptions.RayTaskError as error:
                # It lives, and cannot read what it was sent.
                reason = str(error).strip().splitlines()[-1][:300]
                raise PipelineError(
                    f"params.yaml: runtime.address, the worker on {member.host} cannot begin "
                    f"({reason}), install there what is installed here"
                ) from None
            except self._ray.exceptions.RayError as error:
                self._lose(member, left, error)
                continue
            if number >= 0:
                member.numbers.discard(number)
                found[number] = answer
            else:
                self._greet(member, number, answer)
        return found

    def _greet(self, member: _Member, asked: int, answer: Any) -> None:
        """Have a worker prepare; take it when it has, or leave its node out, or stop."""
        if asked == _PLACE:
            member.placed = True
            ref = member.actor.prepare.remote(self._task, self._luggage, self._facts)
            self._begun[ref] = member, _PREPARE
            return
        differs = likeness.difference(member.host, pool.result(answer), self._facts)
        if not differs:
            member.ready = True
            self._losses.works(member.node)
            self._tell()
            return
        if self._runtime.mixed == "refuse":
            raise PipelineError(
                f"params.yaml: runtime.mixed, the worker on {differs}, make them alike, or set it "
                "to skip to work without it"
            )
        if member.node not in self._left_out:
            say(f"ray: left out, the worker on {differs}")
        self._left_out.add(member.node)
        self._dismiss(member)

    def _lose(self, member: _Member, left: deque[int], error: Exception) -> None:
        """Have others begin what a lost worker had begun."""
        lost = sorted(member.numbers)
        self._dismiss(member)
        merged = sorted([*lost, *left])
        left.clear()
        left.extend(merged)
        # Of what is in work a worker has one item; others that waited for it are not to blame.
        first = lost[0] if lost else None
        if self._losses.add(first, member.node, time.monotonic()):
            reason = " ".join(str(error).split())[:300]
            what = "of one piece of work" if lost else "before they were ready"
            raise PipelineError(
                f"runtime.engine: {losses.MOST + 1} workers died {what}, the last on {member.host} "
                f"({reason}), perhaps for lack of memory, start nodes with fewer CPUs "
                "(`ray start --num-cpus`) and run it again, it resumes"
            ) from None

    def _dismiss(self, member: _Member) -> None:
        if member in self._members:
            self._members.remove(member)
            self._ray.kill(member.actor)
            self._tell()
        member.numbers.clear()
        self._begun = {ref: pair for ref, pair in self._begun.items() if pair[0] is not member}

    def _require_any(self, places: int, now_s: float) -> None:
        """Stop where there is nobody to work, and nobody comes."""
        if any(member.placed for member in self._members):
            self._manned_s = now_s
        where = self._runtime.address or "this machine"
        what = "GPU" if self._task.gpus else "CPU"
        if self._left_out and not places:
            raise PipelineError(
                f"params.yaml: runtime.mixed is skip, and every worker at {where} differs from "
                "this machine, run it on one that is like them"
            )
        if now_s - self._manned_s > PATIENCE_S:
            raise PipelineError(
                f"params.yaml: runtime.address, the cluster at {where} has no free {what} for "
                f"{PATIENCE_S:.0f} s, wait for other jobs to end or add a node with "
                "`ray start --address`"
            )

    def _tell(self) -> None:
        ready = [member for member in self._members if member.ready]
        nodes = len({member.node for member in ready})
        told = f"{_count(len(ready), 'worker')} on {_count(nodes, 'node')}"
        if (ready or self._told) and told != self._told:
            after = "" if self._told else f" after {time.monotonic() - self._began_s:.1f} s"
            say(f"ray: {told}{after}")
            self._told = told


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
