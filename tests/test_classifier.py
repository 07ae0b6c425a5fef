"""Classifiers: what is saved is what predicts, for each method."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from pipeline import classifier, layout
from pipeline import encoder as encoders
from pipeline.errors import PipelineError
from pipeline.task import of_role
from tests.speech import small_encoder, tone_clips
from tests.test_training import DESIGN, SETTINGS, fit_of, train

PREDICT = """
import sys, torch, numpy as np
from pathlib import Path
from pipeline import classifier
torch.manual_seed(12345)
model = classifier.load(Path(sys.argv[1]), Path(sys.argv[2]))
with torch.inference_mode():
    waves = [torch.from_numpy(np.random.default_rng(3).standard_normal(n).astype("f4"))
             for n in (4000, 7001)]
    sys.stdout.buffer.write(model(waves).numpy().tobytes())
"""


def trained(base: Path, method: str, head: str = "pool", loss: str = "ce") -> classifier.Classifier:
    torch.manual_seed(0)
    adapters = {"rank": 2, "alpha": 4.0} if method == "lora-qkv" else {}
    design = DESIGN.model_copy(
        update={
            "method": method,
            "head": head,
            "loss": loss,
            "encoder_sha256": layout.weights_sha256(base),
            **adapters,
        }
    )
    model = classifier.Classifier(encoders.load(base, freeze_conv=True), design)
    settings = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-2})
    train(fit_of(model, settings, folder=f"{method}-{head}-{loss}"), model, tone_clips(20))
    return model.eval()


@pytest.mark.parametrize(
    ("method", "head", "loss"), [("full", "bilstm", "am-softmax"), ("lora-qkv", "pool", "ce")]
)
def test_a_fresh_process_predicts_the_same(
    project: Path, method: str, head: str, loss: str
) -> None:
    base = small_encoder(project / "encoder")
    model = trained(base, method, head, loss)
    folder = project / "classifier"
    folder.mkdir()
    classifier.save(model, folder)
    rng = np.random.default_rng
    waves = [torch.from_numpy(rng(3).standard_normal(n).astype("f4")) for n in (4000, 7001)]
    with torch.inference_mode():
        expected = model(waves).numpy().tobytes()
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", PREDICT, str(folder), str(base)]
    done = subprocess.run(command, cwd=root, capture_output=True, check=True)
    assert done.stdout == expected


def test_lora_trains_adapters_and_head_alone(project: Path) -> None:
    base = small_encoder(project / "encoder")
    model = trained(base, "lora-qkv")
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    adapters = [name for name in names if "lora_" in name]
    # Two blocks, three projections, an A and a B each.
    assert len(adapters) == 2 * 3 * 2
    assert all(name.startswith(("head.", "output.")) for name in set(names) - set(adapters))
    original = encoders.load(base).state_dict()
    for name, value in model.encoder.state_dict().items():
        if "lora_" not in name:
            assert torch.equal(value, original[name.replace(".base_layer", "")]), name


def test_lora_saves_adapters_and_head_not_the_encoder(project: Path) -> None:
    base = small_encoder(project / "encoder")
    folder = project / "classifier"
    folder.mkdir()
    classifier.save(trained(base, "lora-qkv"), folder)
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.safetensors"))
    assert written == ["adapter/adapter_model.safetensors", "head.safetensors"]


def test_peft_itself_reads_the_adapters_and_merges_them(project: Path) -> None:
    base = small_encoder(project / "encoder")
    model = trained(base, "lora-qkv")
    folder = project / "classifier"
    folder.mkdir()
    classifier.save(model, folder)
    wave = torch.randn(1, 5000)
    with torch.inference_mode():
        expected = encoders.hidden(model.encoder, [wave[0]], ["last"])[0]["last"]
        peer = PeftModel.from_pretrained(encoders.load(base), folder / "adapter")
        merged = peer.merge_and_unload()
        torch.testing.assert_close(
            encoders.hidden(merged, [wave[0]], ["last"])[0]["last"], expected, rtol=1e-4, atol=1e-5
        )


def test_saving_twice_gives_the_same_bytes_under_any_hash_seed(project: Path) -> None:
    base = small_encoder(project / "encoder")
    folder = project / "classifier"
    folder.mkdir()
    classifier.save(trained(base, "lora-qkv"), folder)
    script = (
        "import sys, torch; from pathlib import Path; from pipeline import classifier\n"
        "model = classifier.load(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "out = Path(sys.argv[3]); out.mkdir(); classifier.save(model, out)"
    )
    digests = set()
    for seed in ("1", "2"):
        out = project / f"copy-{seed}"
        subprocess.run(
            [sys.executable, "-c", script, str(folder), str(base), str(out)],
            cwd=Path(__file__).resolve().parent.parent,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            check=True,
        )
        content = b"".join(path.read_bytes() for path in sorted(out.rglob("*.*")))
        digests.add(hashlib.sha256(content).hexdigest())
    assert len(digests) == 1


def test_adapters_refuse_another_encoder(project: Path) -> None:
    base = small_encoder(project / "encoder")
    other = small_encoder(project / "other", seed=9)
    folder = project / "classifier"
    folder.mkdir()
    classifier.save(trained(base, "lora-qkv"), folder)
    with pytest.raises(PipelineError, match="belong to another encoder"):
        classifier.load(folder, other)


def test_logits_do_not_depend_on_the_batch(project: Path) -> None:
    model = trained(small_encoder(project / "encoder"), "full")
    found = of_role(tone_clips(20), "dev") + of_role(tone_clips(20), "test")
    alone = classifier.logits(fit_of(model, folder="a", budget_s=1e-6), model, found)
    together = classifier.logits(fit_of(model, folder="a", budget_s=1e6), model, found)
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_the_margin_is_for_training_alone(project: Path) -> None:
    model = trained(small_encoder(project / "encoder"), "full", loss="am-softmax")
    batch = next(fit_of(model, folder="b").batches(tone_clips(4)))
    model.eval()
    plain = torch.nn.functional.cross_entropy(
        model(batch.waves), torch.tensor([e.label for e in batch.examples]), reduction="sum"
    )
    torch.testing.assert_close(model.loss(batch)[0], plain)
