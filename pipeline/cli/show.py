"""``ser show``: a short table of what was measured, and where the pictures are."""

from pathlib import Path
from typing import Any

RESULTS = Path("results")


def main() -> None:
    """Print a short table of what was measured, and where the pictures are."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from pipeline import files

    metrics: dict[str, Any] = files.read_json(RESULTS / "metrics.json")
    console = Console(highlight=False)
    for task, columns in (("emotion", ("uar", "war", "f1_macro", "eer")), ("share", ("rho",))):
        if not metrics[task]:
            continue
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column(task)
        for name in (*columns, "95 %"):
            table.add_column(name, justify="right")
        for start, methods in metrics[task].items():
            for method, found in methods.items():
                scores = [f"{found[name]:.3f}" if name in found else "-" for name in columns]
                pair = found.get(f"{columns[0]}_95")
                interval = f"{pair[0]:.3f} to {pair[1]:.3f}" if pair else "-"
                table.add_row(f"{start} {method}", *scores, interval)
        console.print(table)
    protocol = metrics["protocol"]
    independent = "" if protocol["speaker_independent"] else "NOT "
    console.print(f"{independent}speaker-independent, {protocol['folds']} folds")
    console.print(f"report: {RESULTS}/report.html, pictures: {RESULTS}/plots", soft_wrap=True)
