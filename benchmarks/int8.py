"""What weights of 8 bits cost: ``python -m benchmarks.int8 CLASSIFIER``, in the project's root.

The classifier is exported with both graphs, and each judges the test clips of its fold: UAR, size,
and how far the probabilities are from PyTorch's.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from pipeline.corpora import manifest
from pipeline.ground.params import load as parameter
from pipeline.inference import api
from pipeline.splits import folds, targets

GRAPHS = {"torch": "model.safetensors", "onnx": "model.onnx", "onnx-int8": "model.int8.onnx"}


def main(classifier: Path) -> None:
    """Export a classifier, and print a line for each way to compute it."""
    task = targets.of(classifier.parts[-4])
    roles = folds.read(int(classifier.name))
    clips = manifest.read(parameter("corpora", list[str]))
    tested = [clip for clip in clips if roles.get(clip.clip) == "test"]
    truth = [task.aim(clip) for clip in tested]
    labels = [aim[0] for aim in truth if aim]
    known = [
        manifest.CLIPS / c.corpus / c.path for c, aim in zip(tested, truth, strict=True) if aim
    ]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        command = ["-m", "ser_pipeline", "export", str(classifier), str(model), "--onnx", "--int8"]
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        told = {way: probabilities(model, way, known) for way in GRAPHS}
        sizes = {way: (model / name).stat().st_size / 1000 for way, name in GRAPHS.items()}
    for way, found in told.items():
        uar = balanced_accuracy_score(labels, found.argmax(1))
        off = np.abs(found - told["torch"]).max()
        print(f"{way:10} UAR {uar:.3f}  {sizes[way]:6.0f} kB  probabilities at most {off:.1e} off")


def probabilities(model: Path, way: str, files: list[Path]) -> np.ndarray:
    """Of each file, (files, classes)."""
    loaded = api.load(model, "cpu", way)  # type: ignore[arg-type]
    heard = [api.predict(loaded, file).whole.probabilities for file in files]
    return np.array([[one[name] for name in loaded.classes] for one in heard])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
