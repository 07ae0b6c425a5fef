"""Training an encoder further and publishing it, as multitask and retrain do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.encoders import encoder as encoders
from pipeline.ground import files
from pipeline.ground.provenance import Provenance
from pipeline.splits.task import Example, of_role
from pipeline.training import loop
from pipeline.training.fit import Fit
from pipeline.training.predictions import write_history


def train_and_publish(
    fit: Fit, model: Any, found: Sequence[Example], target: Path, provenance: Provenance
) -> None:
    """Fit ``model`` by its dev loss and write its encoder and learning curve to ``target``."""
    history = loop.train(fit, model, of_role(found, "train"), of_role(found, "dev"), target=target)
    if not fit.processes.main:
        return
    with files.publish(target) as out:
        out.mkdir()
        encoders.save(model.encoder, out)
        write_history(out, history)
        provenance.write(out)
    fit.discard()
