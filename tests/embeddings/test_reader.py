"""The HDF5 contract: plain h5py reads it, damage is seen, the same content is the same bytes."""

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from unittest.mock import Mock

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch.utils.data import DataLoader

from pipeline.corpora.manifest import Clip
from pipeline.embeddings.hdf5 import finite
from pipeline.embeddings.reader import (
    ClipFrames,
    Embedding,
    Embeddings,
    Header,
    Run,
    digest,
    opened,
    path_of,
)
from pipeline.embeddings.writer import write
from pipeline.ground.errors import PipelineError, remedy
from tests.ratings import clip_of
from tests.speech import tone_clips

WIDTH = 24
HEADER = Header(
    encoder="base",
    revision="f" * 40,
    weights_sha256="0" * 64,
    blocks=12,
    width=WIDTH,
    hop_samples=320,
    frames=(-3, "last"),
    means=(-13, -1),
    precision="fp32",
    dtype="float16",
    numerics_version=1,
)
LENGTHS = {"a/1": 5, "a/2": 1, "b/ä~pitch+2": 9000}


def embedding(length: int, seed: int) -> Embedding:
    rng = np.random.default_rng(seed)
    return Embedding(
        length,
        {n: rng.standard_normal((length, WIDTH)).astype(np.float32) for n in HEADER.frames},
        {n: rng.standard_normal(WIDTH).astype(np.float32) for n in HEADER.means},
    )


CONTENT = {clip: embedding(length, n) for n, (clip, length) in enumerate(LENGTHS.items())}


def written(path: Path, header: Header = HEADER, content: Any = CONTENT) -> Path:
    frames = sum(one.length for one in content.values())
    with write(path, header, list(content), frames) as writer:
        for clip, one in content.items():
            writer.append(one, clip)
    return path


def test_plain_h5py_reads_the_contract(tmp_path: Path) -> None:
    with h5py.File(written(tmp_path / "e.h5"), "r") as file:
        assert set(file) == {"layer_10", "last", "mean_0", "mean_12", "offsets", "clip"}
        assert file["clip"].asstr()[:].tolist() == list(LENGTHS)
        offsets = file["offsets"][:]
        assert offsets.tolist() == [0, 5, 6, 9006]
        for name, layer in (("layer_10", -3), ("last", "last")):
            assert file[name].dtype == np.float16
            for row, one in enumerate(CONTENT.values()):
                stored = file[name][offsets[row] : offsets[row + 1]]
                assert np.array_equal(stored, one.frames[layer].astype(np.float16))  # type: ignore[index]
        means = np.stack([one.means[-1] for one in CONTENT.values()])
        assert np.array_equal(file["mean_12"][:], means)
        assert all(file[name].fletcher32 and file[name].compression is None for name in file)
        expected = {"encoder": "base", "revision": "f" * 40, "precision": "fp32", "blocks": 12}
        assert expected.items() <= dict(file.attrs).items()
        assert file.attrs["frames"] == '[-3, "last"]'


def test_the_reader_gives_what_was_written(tmp_path: Path) -> None:
    with Embeddings(written(tmp_path / "e.h5"), encoder="base") as found:
        assert found.clips == list(LENGTHS)
        assert [found.length(clip) for clip in found.clips] == list(LENGTHS.values())
        assert (found.width, found.hop_s, found.layers) == (WIDTH, 0.02, (-3, "last"))
        assert found.header == HEADER
        assert found.attributes["means"] == (-13, -1)
        whole = np.concatenate([one.frames[-3] for one in CONTENT.values()]).astype(np.float16)
        assert np.array_equal(found.rows(-3, 3, 8000), whole[3:8000].astype(np.float32))
        for clip, one in CONTENT.items():
            frames = found.frames(clip, "last")
            assert frames.dtype == np.float32
            np.testing.assert_allclose(frames, one.frames["last"], atol=2e-3)
            again = found.embedding(clip)
            assert again.frames[-3].dtype == np.float16
            assert np.array_equal(again.means[-13], one.means[-13])
        assert found.means(-1).shape == (3, WIDTH)


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one.h5"), written(tmp_path / "two.h5")
    assert one.read_bytes() == two.read_bytes()


def test_float32_is_kept_exactly(tmp_path: Path) -> None:
    with Embeddings(written(tmp_path / "e.h5", replace(HEADER, dtype="float32"))) as found:
        assert np.array_equal(found.frames("a/1", -3), CONTENT["a/1"].frames[-3])


def test_a_data_loader_reads_it_in_worker_processes(tmp_path: Path) -> None:
    frames: Any = ClipFrames(written(tmp_path / "e.h5"), -3)
    expected = [frames[row] for row in range(len(frames))]
    loader = DataLoader(frames, batch_size=None, num_workers=2, multiprocessing_context="fork")
    for (clip, found), (name, own) in zip(loader, expected, strict=True):
        assert clip == name
        assert np.array_equal(found.numpy(), own)


def test_every_flipped_byte_is_harmless_or_an_error(tmp_path: Path) -> None:
    small = {clip: embedding(min(one.length, 40), 7) for clip, one in CONTENT.items()}
    path = written(tmp_path / "e.h5", content=small)
    good, expected = path.read_bytes(), _everything(path)
    rng = np.random.default_rng(0)
    caught = 0
    for place in rng.choice(len(good), 300, replace=False):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert _everything(path) == expected, place
        except PipelineError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)
            caught += 1
    assert caught > 100


def _everything(path: Path) -> list[object]:
    with Embeddings(path) as found:
        parts = [found.embedding(clip) for clip in found.clips]
        arrays = [
            a.tobytes() for part in parts for a in (*part.frames.values(), *part.means.values())
        ]
        return [found.clips, found.offsets.tolist(), found.attributes, arrays]


@pytest.mark.parametrize("length", [0, 100, 4000])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "e.h5")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(PipelineError, match=r"e.h5: damaged .*delete it"):
        Embeddings(path)


def test_a_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"no such file, run `dvc repro`"):
        Embeddings(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("frames", 1e5, "a/2: layer -3 reaches 1e\\+05, beyond float16.*float32"),
        ("frames", np.nan, "a/2: layer -3 has a NaN"),
        ("means", np.inf, "a/2: layer -13 has a NaN or an infinity"),
    ],
)
def test_what_is_not_finite_is_refused_with_clip_and_layer(
    tmp_path: Path, where: str, value: float, message: str
) -> None:
    bad = embedding(4, 0)
    (bad.frames[-3] if where == "frames" else bad.means[-13])[..., 3] = value
    with pytest.raises(PipelineError, match=message):
        written(tmp_path / "e.h5", content={"a/1": CONTENT["a/1"], "a/2": bad})


def test_of_several_clips_the_one_that_is_not_finite_is_named(tmp_path: Path) -> None:
    content = {clip: embedding(4, n) for n, clip in enumerate(LENGTHS)}
    content["a/2"].frames["last"][3, 1] = -np.inf
    run = Run.join([Run.of(one) for one in content.values()])
    with (
        pytest.raises(PipelineError, match="a/2: layer last has a NaN or an infinity"),
        write(tmp_path / "e.h5", HEADER, list(content), 12) as writer,
    ):
        writer.extend(run, list(content))


def test_clips_written_and_read_together_are_those_written_alone(tmp_path: Path) -> None:
    alone, together = written(tmp_path / "one.h5"), tmp_path / "two.h5"
    run = Run.join([Run.of(one) for one in CONTENT.values()])
    with write(together, HEADER, list(CONTENT), sum(LENGTHS.values())) as writer:
        writer.extend(run, list(CONTENT))
    assert _everything(together) == _everything(alone)
    with Embeddings(alone) as found:
        last = found.run(1, 2)
        assert last.lengths == [1, 9000]
        assert np.array_equal(last.frames[-3], run.frames[-3][5:].astype(np.float16))
        assert np.array_equal(last.means[-1], run.means[-1][1:])
        for one, expected in zip(last.clips(), list(CONTENT.values())[1:], strict=True):
            assert one.length == expected.length == len(one.frames[-3])
            assert np.array_equal(one.means[-13], expected.means[-13])


@given(
    npst.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int32]),
        npst.array_shapes(min_dims=0, max_dims=2, min_side=0),
    )
)
def test_finite_is_what_numpy_says(values: Any) -> None:
    assert finite(values) == np.isfinite(values).all()
    assert finite(values.astype(values.dtype.newbyteorder())) == np.isfinite(values).all()


def test_a_stored_nan_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "e.h5")
    with h5py.File(path, "r+") as file:
        file["layer_10"][7, 3] = np.nan
    with Embeddings(path) as found:
        assert np.isfinite(found.frames("a/1", -3)).all()
        with pytest.raises(PipelineError, match="layer_10 has a NaN"):
            found.frames("b/ä~pitch+2", -3)


def test_another_encoder_or_manifest_is_refused(project: Path) -> None:
    clips: Sequence[Clip] = [example.clip for example in tone_clips(3)]
    content = {clip.clip: CONTENT["a/1"] for clip in clips}
    path = written(project / "e.h5", replace(HEADER, clips_sha256=digest(clips)), content)
    Embeddings(path, encoder="base", clips=clips).close()
    with pytest.raises(PipelineError, match="made by encoder 'base', expected 'large'"):
        Embeddings(path, encoder="large")
    for stale in (clips[:2], [replace(clips[0], sha256="0" * 64), *clips[1:]]):
        with pytest.raises(PipelineError, match=r"e.h5: .*other clips"):
            Embeddings(path, clips=stale)
    relabelled = [replace(clip, emotion="sad") for clip in clips]
    Embeddings(path, clips=relabelled).close()


def test_the_embeddings_of_corpora_are_opened_together_and_checked(project: Path) -> None:
    clips = [clip_of(name, corpus) for corpus in ("emo", "emo-db") for name in ("1", "2")]
    for corpus in ("emo", "emo-db"):
        own = [clip for clip in clips if clip.corpus == corpus]
        path = path_of("base", corpus)
        path.parent.mkdir(parents=True, exist_ok=True)
        header = replace(HEADER, clips_sha256=digest(own))
        written(path, header, {clip.clip: CONTENT["a/2"] for clip in own})
    with opened("base", sorted(clips, key=lambda clip: clip.clip)) as found:
        assert sorted(name for one in found for name in one.clips) == sorted(c.clip for c in clips)
    with (
        pytest.raises(PipelineError, match=r"emo-db\.h5: .*other clips"),
        opened("base", clips[:3]),
    ):
        pass


def test_a_clip_or_a_layer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with Embeddings(written(tmp_path / "e.h5")) as found:
        with pytest.raises(PipelineError, match="no embedding of clip 'c/1'"):
            found.frames("c/1", -3)
        with pytest.raises(PipelineError, match="no 'layer_11', it holds last, layer_10"):
            found.frames("a/1", -2)
        with pytest.raises(PipelineError, match=r"no 'mean_10'.*extract\.means"):
            found.means(-3)


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    other = written(tmp_path / "other.h5")
    for link in (h5py.ExternalLink(other, "last"), h5py.SoftLink("/layer_10")):
        path = written(tmp_path / "e.h5")
        with h5py.File(path, "r+") as file:
            del file["last"]
            file["last"] = link
        with pytest.raises(PipelineError, match="last is a link"):
            Embeddings(path)
    with h5py.File(written(path), "r+") as file:
        del file["last"]
        layout = h5py.VirtualLayout((9006, WIDTH), "float16")
        layout[:] = h5py.VirtualSource(other, "last", (9006, WIDTH))
        file.create_virtual_dataset("last", layout)
    with pytest.raises(PipelineError, match="last is stored elsewhere"):
        Embeddings(path)


def test_a_file_of_another_kind_or_schema_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "e.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(PipelineError, match="schema version 99, expected 2"):
        Embeddings(path)
    with h5py.File(path, "w") as file:
        file["x"] = [1]
    with pytest.raises(PipelineError, match="damaged"):
        Embeddings(path)


HOLDER = """
import sys, h5py
with h5py.File(sys.argv[1], "r+"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("locking", ["TRUE", "FALSE"])
def test_a_file_that_another_program_has_open_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locking: str
) -> None:
    """With locks HDF5 is refused one; without it reads in the file that it is open."""
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", locking)
    path = written(tmp_path / "demo.h5")
    command = [sys.executable, "-c", HOLDER, str(path)]
    with Popen(command, stdin=PIPE, stdout=PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError, match="another program has it open") as refused:
            Embeddings(path)
        holder.communicate()
    assert refused.value.filename == str(path)
    assert "delete" not in remedy(refused.value)
    with Embeddings(path) as whole:
        assert whole.clips == sorted(LENGTHS)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOLCK])
def test_what_the_system_refuses_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = written(tmp_path / "demo.h5")
    told = f"[Errno {number}] Unable to synchronously open file (errno = {number})"
    monkeypatch.setattr(h5py, "File", Mock(side_effect=OSError(number, told)))
    with pytest.raises(OSError, match=os.strerror(number)) as refused:
        Embeddings(path)
    assert refused.value.filename == str(path)


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "demo.h5")
    with pytest.raises(PipelineError, match=r"demo\.h5: not a regular file"):
        Embeddings(tmp_path / "demo.h5")
