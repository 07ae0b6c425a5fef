"""What is extracted is transformers' own, whatever the history, the workers and the kills."""

import errno
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import h5py
import numpy as np
import pytest
import torch
import transformers

from pipeline.audio.flac import read_clip, write_flac
from pipeline.corpora.manifest import Clip
from pipeline.embeddings import extraction
from pipeline.embeddings.extraction import Job, Kept
from pipeline.embeddings.reader import Embeddings
from pipeline.encoders import encoder
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from tests.patience import PATIENCE_S, wait_until
from tests.speech import small_encoder, tone_clips

EXACT = Kept([-1, -2, "last"], "all", "fp32", "float32")
HALF = Kept(["last"], ["last"], "fp32", "float16")
LARGE: dict[str, Any] = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
TARGET = Path("artifacts/embeddings/small/tones.h5")
FBANK = {"kind": "fbank", "bands": 40, "window_ms": 25.0, "hop_ms": 10.0, "high_hz": 8000.0}


@pytest.fixture
def clips(on_cpu: Path, monkeypatch: pytest.MonkeyPatch) -> list[Clip]:
    """A few seconds of tones, cut into many shards."""
    monkeypatch.setattr(extraction, "SHARD_S", 1.0)
    return [example.clip for example in tone_clips(12)]


def frontend(folder: Path) -> Path:
    files.write_json(folder / "config.json", FBANK)
    return folder


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2", "wavlm", "data2vec-audio"])
@pytest.mark.parametrize("size", ["base", "large"])
def test_the_file_holds_the_bits_of_transformers(kind: str, size: str, clips: list[Clip]) -> None:
    folder = small_encoder(Path("enc"), model_type=kind, **(LARGE if size == "large" else {}))
    if size == "large":
        settings = files.read_json(folder / "preprocessor_config.json")
        files.write_json(folder / "preprocessor_config.json", settings | {"do_normalize": True})
    Job.prepare(folder, "small", EXACT).run(TARGET, clips)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    with Embeddings(TARGET, "small", clips) as found, torch.no_grad():
        assert found.clips == [clip.clip for clip in clips]
        for clip in clips:
            ready = extractor(read_clip(clip.file), sampling_rate=16000, return_tensors="pt")
            output = model(ready.input_values, output_hidden_states=True)
            states: dict[Layer, torch.Tensor] = {
                -2: output.hidden_states[1][0],
                -1: output.hidden_states[2][0],
                "last": output.last_hidden_state[0],
            }
            for layer, expected in states.items():
                assert np.array_equal(found.frames(clip.clip, layer), expected.numpy())
            mean = found.embedding(clip.clip).means[-3]
            bottom = output.hidden_states[0][0].numpy().mean(0, dtype=np.float64)
            np.testing.assert_allclose(mean, bottom, atol=1e-6)


def test_a_front_end_is_an_encoder_like_the_others(clips: list[Clip]) -> None:
    Job.prepare(frontend(Path("fb")), "fbank", HALF).run(TARGET, clips)
    with Embeddings(TARGET, "fbank", clips) as found:
        assert (found.width, found.hop_s, found.layers) == (40, 0.01, ("last",))
        energies = Job.prepare(Path("fb"), "fbank", HALF).embed([read_clip(clips[3].file)])[0]
        frames = found.frames(clips[3].clip, "last")
        np.testing.assert_allclose(frames, energies.frames["last"], rtol=1e-3)
        mean = energies.frames["last"].astype(np.float64).mean(0)
        np.testing.assert_allclose(found.means("last")[3], mean, rtol=1e-6)
    with pytest.raises(PipelineError, match="no layer -3, set it to last"):
        Job.prepare(Path("fb"), "fbank", replace(HALF, frames=[-3]))


def test_bytes_do_not_depend_on_history_or_workers(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_encoder(Path("enc"))
    job = Job.prepare(folder, "small", HALF)
    job.run(TARGET, clips)
    expected = TARGET.read_bytes()
    job.discard()

    # A corpus that grew clip by clip, in another order, with a duplicate and a stranger on the way.
    job.store.mkdir()
    for part in (clips[7:], [clips[0], clips[7]], clips):
        job.run(TARGET, part)
    assert TARGET.read_bytes() == expected
    job.discard()

    job.store.mkdir()
    replace(job, workers=2).run(TARGET, clips)
    assert TARGET.read_bytes() == expected
    job.discard()

    job.store.mkdir()
    monkeypatch.setattr(extraction, "SHARD_S", 100.0)
    job.run(TARGET, clips)
    assert TARGET.read_bytes() == expected


def test_a_new_clip_is_embedded_alone(clips: list[Clip]) -> None:
    job = Job.prepare(small_encoder(Path("enc")), "small", HALF)
    job.run(TARGET, clips[1:])
    seen: list[int] = []

    def embed(waves: Any) -> Any:
        seen.extend(len(wave) for wave in waves)
        return job.embed(waves)

    replace(job, embed=embed).run(TARGET, clips)
    assert seen == [len(read_clip(clips[0].file))]
    with Embeddings(TARGET, clips=clips) as found:
        assert len(found.clips) == len(clips)


def test_the_store_is_keyed_by_encoder_layers_and_precision(clips: list[Clip]) -> None:
    folder, other = small_encoder(Path("enc")), small_encoder(Path("other"), seed=1)
    kept = [HALF, replace(HALF, frames=[-1]), replace(HALF, precision="bf16")]
    jobs = [Job.prepare(folder, "small", k) for k in kept] + [Job.prepare(other, "small", HALF)]
    assert len({job.store for job in jobs}) == 4
    assert Job.prepare(folder, "small", HALF).store == jobs[0].store


def test_bf16_is_near_and_says_so(clips: list[Clip]) -> None:
    folder = small_encoder(Path("enc"))
    near, exact = Path("near.h5"), Path("exact.h5")
    Job.prepare(folder, "small", HALF).run(exact, clips)
    Job.prepare(folder, "small", replace(HALF, precision="bf16")).run(near, clips)
    with Embeddings(near) as one, Embeddings(exact) as other:
        assert (one.header.precision, other.header.precision) == ("bf16", "fp32")
        found, expected = one.rows("last", 0, 50), other.rows("last", 0, 50)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 1e-4 < error < 5e-2


def test_audio_that_is_not_the_manifests_is_refused(clips: list[Clip]) -> None:
    job = Job.prepare(frontend(Path("fb")), "fbank", HALF)
    write_flac(clips[5].file, read_clip(clips[4].file))
    with pytest.raises(PipelineError, match=r"tones/005\.flac: not the audio of the manifest"):
        job.run(TARGET, clips)
    clips[5].file.write_bytes(clips[5].file.read_bytes()[:200])
    with pytest.raises(PipelineError, match=r"tones/005\.flac"):
        replace(job, workers=2).run(TARGET, clips)
    assert not TARGET.exists()
    assert multiprocessing.active_children() == []
    with pytest.raises(PipelineError, match="no clip to embed"):
        job.run(TARGET, [])


def test_a_value_that_is_not_finite_names_clip_layer_and_remedy(clips: list[Clip]) -> None:
    folder = small_encoder(Path("enc"))
    model = encoder.load(folder)
    with torch.no_grad():
        model.encoder.layers[1].final_layer_norm.weight.mul_(1e6)
    encoder.save(model, folder)
    with pytest.raises(PipelineError, match=r"tones/\d+: layer last .*float16.*float32"):
        Job.prepare(folder, "small", HALF).run(TARGET, clips)
    Job.prepare(folder, "small", replace(HALF, dtype="float32")).run(TARGET, clips)
    with torch.no_grad():
        model.encoder.layers[1].final_layer_norm.bias[3] = torch.nan
    encoder.save(model, folder)
    with pytest.raises(PipelineError, match="tones/000: layer last has a NaN"):
        Job.prepare(folder, "small", replace(HALF, dtype="float32")).run(TARGET, clips)


def test_a_damaged_shard_is_named_and_embedded_anew(
    clips: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job.prepare(frontend(Path("fb")), "fbank", HALF)
    job.run(TARGET, clips)
    expected = TARGET.read_bytes()
    shard = max(job.store.glob("*.h5"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    TARGET.unlink()
    job.run(TARGET, clips)
    assert f"{shard.name}: damaged, its clips are embedded anew" in capsys.readouterr().err
    assert TARGET.read_bytes() == expected


def test_a_shard_that_cannot_be_read_now_is_kept(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be good: another program has it open, or the disk refused."""
    job = Job.prepare(frontend(Path("fb")), "fbank", HALF)
    job.run(TARGET, clips)
    before = sorted(job.store.glob("*.h5"))
    monkeypatch.setattr(h5py, "File", Mock(side_effect=OSError(errno.EAGAIN, "unable to lock")))
    with pytest.raises(BlockingIOError):
        job.run(TARGET, clips)
    assert sorted(job.store.glob("*.h5")) == before


def test_a_killed_run_loses_one_shard_a_worker_and_ends_in_the_same_bytes(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at random places; its workers end with it."""
    monkeypatch.setattr(extraction, "SHARD_S", 0.1)
    plain = Job.prepare(frontend(Path("fb")), "fbank", HALF)
    plain.run(TARGET, clips)
    expected = TARGET.read_bytes()
    plain.discard()
    plain.store.mkdir()
    journal, target, draw = Path("journal"), Path("killed.h5"), random.Random(0)
    journal.touch()

    def begun() -> list[int]:
        """The worker that began a shard, for each."""
        return [int(line) for line in journal.read_text("utf-8").splitlines()]

    for killed, last in enumerate((2, 5, 9), 1):

        def embed(waves: Any, last: int = last) -> Any:
            with journal.open("a", encoding="utf-8") as file:
                file.write(f"{os.getpid()}\n")
            if len(begun()) >= last:  # so that the kill finds it at work
                time.sleep(PATIENCE_S)
            return plain.embed(waves)

        job = replace(plain, embed=embed, workers=2)
        run = multiprocessing.get_context("fork").Process(target=job.run, args=(target, clips))
        run.start()
        wait_until(lambda last=last: len(begun()) >= last)  # type: ignore[misc]
        time.sleep(draw.uniform(0, 0.02))
        run.kill()
        run.join()
        wait_until(lambda: not any(map(lives, begun())))
        assert not target.exists()
        assert len(list(plain.store.glob("*.h5"))) >= len(begun()) - 2 * killed
    replace(plain, workers=2).run(target, clips)
    assert target.read_bytes() == expected


def lives(process: int) -> bool:
    """Whether there is such a process (a zombie has ended)."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text("utf-8")
    except OSError:  # it may end between two looks
        return False


def test_a_worker_killed_from_outside_is_one_line(clips: list[Clip]) -> None:
    def embed(_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    job = replace(Job.prepare(frontend(Path("fb")), "fbank", HALF), embed=embed, workers=2)
    with pytest.raises(PipelineError, match=r"worker process was killed.*runtime\.workers"):
        job.run(TARGET, clips)
