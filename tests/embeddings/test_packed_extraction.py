"""How a GPU extracts: packed, decoded ahead, written behind. On the CPU, and on a card if any."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.corpora.manifest import Clip
from pipeline.embeddings import extraction
from pipeline.embeddings.embedder import Embedder
from pipeline.embeddings.extraction import Job, Kept
from pipeline.embeddings.reader import Embeddings, Run
from pipeline.embeddings.writer import write
from pipeline.encoders import encoder, forward, packed
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from tests.conftest import on_device
from tests.embeddings.test_extraction import FBANK, HALF
from tests.embeddings.test_reader import HEADER, LENGTHS, embedding
from tests.speech import small_encoder, tone_clips

EXACT = Kept([-1, -2, "last"], "all", "fp32", "float32")
TARGET = Path("artifacts/embeddings/small/tones.h5")


@pytest.fixture
def clips(on_cpu: Path, monkeypatch: pytest.MonkeyPatch) -> list[Clip]:
    monkeypatch.setattr(extraction, "GROUP_S", 1.0)
    return [example.clip for example in tone_clips(12)]


def packing(job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """The job as it runs on a GPU, which a CPU can do too."""
    assert isinstance(job.embed, Embedder)
    monkeypatch.setattr(forward, "packs", lambda _: True)
    return replace(job, begin=job.embed.begin)


def assert_near(found: Path, expected: Path, clips: Sequence[Clip], limit: float) -> None:
    with Embeddings(found) as ours, Embeddings(expected) as theirs:
        assert ours.clips == theirs.clips == [clip.clip for clip in clips]
        for clip in ours.clips:
            one, other = ours.embedding(clip), theirs.embedding(clip)
            pairs = [(one.frames[k], other.frames[k]) for k in other.frames]
            pairs += [(one.means[k], other.means[k]) for k in other.means]
            for mine, exact in pairs:
                assert np.linalg.norm(mine - exact) < limit * np.linalg.norm(exact)


def test_it_writes_what_one_clip_at_a_time_gives(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job.prepare(small_encoder(Path("enc")), "small", EXACT)
    job.run(Path("alone.h5"), clips)
    job.discard()
    job.store.mkdir()
    packing(job, monkeypatch).run(TARGET, clips)
    assert_near(TARGET, Path("alone.h5"), clips, 1e-5)


def test_a_resumed_run_packs_as_an_undisturbed_one(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = packing(Job.prepare(small_encoder(Path("enc")), "small", EXACT), monkeypatch)
    begin = job.begin
    groups: list[list[int]] = []

    def watched(waves: Sequence[Any], limit: int = 100) -> Callable[[], Sequence[Run]]:
        assert begin is not None
        if len(groups) == limit:
            raise KeyboardInterrupt
        groups.append([len(wave) for wave in waves])
        return begin(waves)

    replace(job, begin=watched).run(TARGET, clips)
    expected, whole = TARGET.read_bytes(), list(groups)
    assert len(whole) > 3
    job.discard()
    job.store.mkdir()
    groups.clear()
    with pytest.raises(KeyboardInterrupt):
        replace(job, begin=lambda waves: watched(waves, 3)).run(TARGET, clips)
    done = len(list(job.store.glob("*.h5")))
    assert 0 < done <= 3
    groups.clear()
    replace(job, begin=watched).run(TARGET, clips)
    assert groups == whole[done:]
    assert TARGET.read_bytes() == expected


def test_where_memory_runs_out_groups_are_halved(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = packing(Job.prepare(small_encoder(Path("enc")), "small", EXACT), monkeypatch)
    job.run(TARGET, clips)
    hidden, limit = packed.hidden, 20000

    def cramped(model: Any, waves: Sequence[Any], *given: Any) -> Any:
        if sum(map(len, waves)) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hidden(model, waves, *given)

    monkeypatch.setattr(packed, "hidden", cramped)
    monkeypatch.setattr(extraction, "GROUP_S", 100.0)
    job.discard()
    job.store.mkdir()
    job.run(Path("cramped.h5"), clips)
    assert "out of memory: groups of" in capsys.readouterr().err
    assert_near(Path("cramped.h5"), TARGET, clips, 1e-5)
    limit = 3000
    with pytest.raises(PipelineError, match=r"a clip of 0\.\d s does not fit .* precision to fp16"):
        job.embed([np.zeros(5000, np.float32)])


def test_bytes_do_not_depend_on_the_groups_that_went_before(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an encoder whose frames do not either, assembled in several blocks."""
    files.write_json(Path("fb/config.json"), FBANK)
    job = Job.prepare(Path("fb"), "fbank", HALF)

    def begin(waves: Sequence[Any]) -> Callable[[], list[Run]]:
        found = [Run.of(one) for one in job.embed(waves)]
        return lambda: [Run.join(found)]

    monkeypatch.setattr(extraction, "BLOCK_BYTES", 20_000)
    packed_job = replace(job, begin=begin)
    packed_job.run(TARGET, clips)
    expected = TARGET.read_bytes()
    job.discard()
    job.store.mkdir()
    for part in (clips[7:], [clips[0], clips[7]], clips):
        packed_job.run(TARGET, part)
    assert TARGET.read_bytes() == expected
    job.run(Path("alone.h5"), clips)
    with Embeddings(TARGET) as together, Embeddings(Path("alone.h5")) as alone:
        assert np.array_equal(together.rows("last", 0, 999), alone.rows("last", 0, 999))
        assert np.array_equal(together.means("last"), alone.means("last"))
        assert together.offsets.tolist() == alone.offsets.tolist()


def test_fp16_without_a_gpu_is_refused(clips: list[Clip]) -> None:
    with pytest.raises(PipelineError, match="precision is fp16, which needs a GPU"):
        Job.prepare(small_encoder(Path("enc")), "small", replace(EXACT, precision="fp16"))


def test_what_overflows_fp16_names_clip_layer_and_remedy(tmp_path: Path) -> None:
    header = replace(HEADER, precision="fp16")
    broken = embedding(5, 0)
    broken.frames["last"][3, 7] = np.inf
    with (
        pytest.raises(PipelineError, match=r"a/1: layer last .*fp16 ends at 65504.* bf16 or fp32"),
        write(tmp_path / "x.h5", header, list(LENGTHS), sum(LENGTHS.values())) as writer,
    ):
        writer.append(broken, "a/1")


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("bf16", 5e-2), ("fp16", 5e-3)])
@pytest.mark.parametrize("style", ["group", "layer"])
def test_a_card_writes_what_the_cpu_writes(
    clips: list[Clip], card: torch.device, precision: Any, limit: float, style: str
) -> None:
    stable: dict[str, Any] = {"do_stable_layer_norm": style == "layer", "feat_extract_norm": style}
    folder = small_encoder(Path("enc"), **stable, hidden_size=32)
    Job.prepare(folder, "small", EXACT).run(Path("cpu.h5"), clips)
    on_device(Path.cwd(), str(card))
    job = Job.prepare(folder, "small", replace(EXACT, precision=precision))
    assert job.begin
    job.run(TARGET, clips)
    assert_near(TARGET, Path("cpu.h5"), clips, limit)


def test_a_card_says_which_clip_overflows(clips: list[Clip], card: torch.device) -> None:
    folder = small_encoder(Path("enc"), hidden_size=32)
    model = encoder.load(folder)
    with torch.no_grad():
        model.encoder.layers[0].feed_forward.output_dense.weight.mul_(1e7)
    encoder.save(model, folder)
    on_device(Path.cwd(), str(card))
    job = Job.prepare(folder, "small", replace(EXACT, precision="fp16"))
    with pytest.raises(PipelineError, match=r"tones/\d+: layer .*fp16 ends at 65504"):
        job.run(TARGET, clips)
