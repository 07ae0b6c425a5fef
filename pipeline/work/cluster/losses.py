"""Which workers were lost, and when that is too many.

A worker that goes with its node is not at fault, and neither is its work. But a node that is gone
counts as there for seconds more, and workers that are started on it meanwhile are lost as well. So
a node rests after a loss, and what was lost on it is forgotten once it is known to be gone.
"""

from collections import Counter
from collections.abc import Collection

# Workers that may die of one item on all nodes, or before they are ready on one.
MOST = 5
# Ray takes up to 15 s to miss a node: less than `MOST` rests.
REST_S = 5.0


class Losses:
    """What was lost where; an item is its number, and what comes before work is None."""

    def __init__(self) -> None:
        self._lost: Counter[tuple[int | None, str]] = Counter()
        self._until_s: dict[str, float] = {}

    def add(self, item: int | None, node: str, now_s: float) -> bool:
        """Note a loss; whether there are too many of its kind now."""
        self._lost[item, node] += 1
        if item is None:
            self._until_s[node] = now_s + REST_S
            return self._lost[None, node] > MOST
        return sum(count for (of, _), count in self._lost.items() if of == item) > MOST

    def rests(self, node: str, now_s: float) -> bool:
        """Whether no worker is to be started on ``node`` yet."""
        return now_s < self._until_s.get(node, now_s)

    def works(self, node: str) -> None:
        """Forget what came before: a worker on ``node`` is ready."""
        self._lost.pop((None, node), None)

    def keep(self, nodes: Collection[str]) -> None:
        """Forget what was lost on any other node: it is gone."""
        self._lost = Counter({key: n for key, n in self._lost.items() if key[1] in nodes})
