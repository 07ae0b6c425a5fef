"""What a search tries: ``key=a,b,c`` chooses, ``key=low..high`` draws, ``key=low..high:log`` too.

Whole ends give whole numbers. A value may be a list, as DVC's ``-S`` has it: ``c=[0.1],[0.1,1]``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.ground.errors import PipelineError

_KEY = re.compile(r"\w[\w.-]*")
_RANGE = re.compile(r"(?P<low>[^,:]+)\.\.(?P<high>[^,:]+?)(?P<log>:log)?")
_BETWEEN = re.compile(r",(?![^\[]*\])")  # no comma within a list


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; ``log`` evenly over their logarithms."""

    low: float
    high: float
    whole: bool
    log: bool

    def suggest(self, trial: Any, key: str) -> str:
        """A value as ``-S`` takes it."""
        if self.whole:
            return str(trial.suggest_int(key, int(self.low), int(self.high), log=self.log))
        return f"{trial.suggest_float(key, self.low, self.high, log=self.log):.4g}"


@dataclass(frozen=True)
class Choice:
    """One of these, as they are written."""

    values: tuple[str, ...]

    def suggest(self, trial: Any, key: str) -> str:
        """A value as ``-S`` takes it."""
        return str(trial.suggest_categorical(key, list(self.values)))


Space = dict[str, Range | Choice]


def parse(texts: Iterable[str]) -> Space:
    """The space that ``key=...`` arguments describe.

    Raises:
        PipelineError: One is malformed, or a key stands twice.
    """
    found: Space = {}
    for text in texts:
        key, separator, told = text.partition("=")
        if not (_KEY.fullmatch(key) and separator and told):
            raise _refusal(text, "expected key=a,b or key=low..high")
        if key in found:
            raise _refusal(text, "this key stands twice")
        match = _RANGE.fullmatch(told)
        found[key] = _range(text, match) if match else Choice(_values(text, told))
    if not found:
        raise PipelineError("search: nothing to try, give -S key=a,b or -S key=low..high")
    return found


def _values(text: str, told: str) -> tuple[str, ...]:
    values = tuple(_BETWEEN.split(told))
    if len(set(values)) < len(values) or not all(values):
        raise _refusal(text, "expected values that differ, none of them empty")
    return values


def _range(text: str, match: re.Match[str]) -> Range:
    try:
        low, high = float(match["low"]), float(match["high"])
    except ValueError:
        raise _refusal(text, "expected two numbers around '..'") from None
    whole = all(re.fullmatch(r"-?\d+", match[name]) for name in ("low", "high"))
    if not low < high < float("inf") or low == float("-inf"):
        raise _refusal(text, "expected the lower number first")
    if match["log"] and low <= 0:
        raise _refusal(text, "expected numbers above 0 on a logarithmic scale")
    return Range(low, high, whole, bool(match["log"]))


def _refusal(text: str, rule: str) -> PipelineError:
    return PipelineError(f"-S {text}: {rule}, see docs/search.md")
