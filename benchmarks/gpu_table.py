"""docs/gpu.md, from what `benchmarks.gpu` left: `python -m benchmarks.gpu_table`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.ground.code import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
NOTHING = "No whole run is kept here yet: `make gpu FOLDER=...` on a card writes one."
HEAD = ["what", "figure", "aim", "of the card", "idle", "peak", "start-up", "against"]


@dataclass(frozen=True)
class Row:
    """One figure: its aim, or that of its share of the card; None is not measured."""

    part: str
    what: str
    value: float
    unit: str
    aim: float | None = None
    of_card: float | None = None
    aim_of_card: float | None = None
    idle: float | None = None
    peak_mib: float | None = None
    start_s: float | None = None
    peer: str = ""
    times: float | None = None

    def cells(self) -> list[str]:
        """As `HEAD` names them."""
        share = _shown(self.of_card, ".0%")
        if self.aim_of_card is not None:
            share += f" (aim {self.aim_of_card:.0%})"
        return [
            f"{self.part}: {self.what}",
            f"{self.value:.4g} {self.unit}".strip(),
            _shown(self.aim, ".4g"),
            share,
            _shown(self.idle, ".0%"),
            _shown(self.peak_mib, ".0f", " MiB"),
            _shown(self.start_s, ".1f", " s"),
            f"{_shown(self.times, '.2f')} times {self.peer}" if self.peer else "",
        ]


def table(rows: Sequence[Row]) -> str:
    """In Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def page(text: str, results: Path) -> str:
    """The page with the tables of all cards in ``results`` between its markers."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(results.glob("gpu-*.json"))]
    shown = "\n\n".join(_section(one) for one in found) or NOTHING
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{shown}\n\n{END}{rest.partition(END)[2]}"


def _section(found: dict[str, Any]) -> str:
    rates = ", ".join(f"{value:.0f} in {name}" for name, value in found["tflops"].items())
    about = f"{found['card']}, torch {found['torch']}, {found['budget_s']:.0f} s."
    head = f"{about} Products of 8192^3 in TFLOP/s: {rates}."
    return f"{head}\n\n{table([Row(**row) for row in found['rows']])}"


def _shown(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8"), RESULTS), "utf-8")
