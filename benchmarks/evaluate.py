"""How long `evaluate` takes on 12,000 utterances of 4 corpora, 5 folds, 4 methods and one
regressor of shares: ``python -m benchmarks.evaluate``.

Predictions are planted in a temporary folder; the stage runs as DVC runs it, in a process of its
own.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.ground.code import ROOT
from tests.results import Study, plant, plant_classifier, plant_probe, plant_share, plant_units

CORPORA = ("crema-d", "ravdess", "savee", "tess")
SYSTEMS = ("fbank/linear", "pretrained/full", "pretrained/lora-qkv", "retrained/full")


def plant_all(root: Path) -> int:
    """Write params and predictions; return how many utterances there are."""
    study = Study(corpora=CORPORA, speakers=91, utterances=3000, folds=5)
    plant(root, study)
    for seed, system in enumerate(SYSTEMS):
        plant_classifier(root, study, system, skill=1.0, seed=seed)
    plant_units(root, study.folds)
    plant_probe(root, study, "fbank")
    plant_share(root, study, "fbank/cnn-lstm-attention")
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text("utf-8"))
    params |= {
        "corpora": list(CORPORA),
        "folds": list(range(study.folds)),
        "adapted": [0],
        "features": ["fbank"],
    }
    params["methods"] = {
        "cached": ["linear"],
        "pretrained": ["full", "lora-qkv"],
        "retrained": ["full"],
    }
    params["probe"]["features"] = ["fbank"]
    params["networks"] |= {"features": ["fbank"], "methods": ["cnn-lstm-attention"]}
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    return len(study.clips())


def main() -> None:
    """Print the seconds of three runs."""
    with tempfile.TemporaryDirectory() as name:
        utterances = plant_all(Path(name))
        for _ in range(3):
            start = time.perf_counter()
            command = [sys.executable, "-m", "stages.evaluate"]
            subprocess.run(command, cwd=name, env={"PYTHONPATH": str(ROOT)}, check=True)
            print(f"evaluate, {utterances} utterances: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
