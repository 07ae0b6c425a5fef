"""``ser plan``: what the active graph will need of disk and time, before anything is computed."""

import typer


def main() -> None:
    """Print what the active graph needs: speech, disk by part, time on this machine's kind.

    All of it counts, whatever is there already; the stage `plan` prints the same. Rates and where
    they were measured stand in pipeline/needs/rates.py: another machine may be twice as fast or
    slow.
    """
    from pipeline.needs import estimate
    from pipeline.scoring import lists

    lists.check()
    for line in estimate.lines(estimate.of_params()):
        typer.echo(line)
