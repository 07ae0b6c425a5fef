from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.ground.errors import PipelineError
from pipeline.units import codebooks
from pipeline.units.codebooks import Ints, Units

CLIPS = ["demo/a", "demo/ß#1"]
OFFSETS = np.array([0, 300, 1000])


def values() -> dict[int, Ints]:
    rng = np.random.default_rng(1)
    return {k: rng.integers(k, size=1000) for k in (16, 70_000)}


def write(path: Path, found: Mapping[int, Ints]) -> None:
    with codebooks.write(path, CLIPS, OFFSETS, list(found)) as file:
        for rows in (slice(0, 700), slice(700, 1000)):
            file.append({k: v[rows] for k, v in found.items()})


def test_units_come_back_per_clip(tmp_path: Path) -> None:
    found = values()
    write(tmp_path / "units.h5", found)
    with Units(tmp_path / "units.h5") as file:
        assert file.scales == [16, 70_000]
        assert file.clips == CLIPS
        assert np.array_equal(file.offsets, OFFSETS)
        assert np.array_equal(file.units("demo/a"), [v[:300] for v in found.values()])
        assert np.array_equal(file.units("demo/ß#1"), [v[300:] for v in found.values()])
        with pytest.raises(PipelineError, match="'demo/b'"):
            file.units("demo/b")


def test_plain_h5py_reads_them_in_the_smallest_type(tmp_path: Path) -> None:
    write(tmp_path / "units.h5", values())
    with h5py.File(tmp_path / "units.h5") as file:
        assert file["k16"].dtype == np.int16
        assert file["k70000"].dtype == np.int32
        assert np.array_equal(file["k70000"][:], values()[70_000])
        assert [name.decode() for name in file["clip"][:]] == CLIPS


def test_same_units_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "one.h5", values())
    write(tmp_path / "two.h5", values())
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_no_flipped_bit_gives_wrong_units(tmp_path: Path) -> None:
    path = tmp_path / "units.h5"
    write(path, values())
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    noticed = 0
    for place in rng.integers(len(whole), size=60):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            with Units(path) as file:
                found = np.concatenate([file.units(clip) for clip in CLIPS], axis=1)
                assert np.array_equal(found, list(values().values()))
        except PipelineError as error:
            assert "\n" not in str(error)
            noticed += 1
    assert noticed > 0


@pytest.mark.parametrize("name", ["missing", "text", "link", "other"])
def test_what_is_no_units_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "units.h5"
    if name == "text":
        path.write_text("not HDF5")
    elif name == "other":
        with h5py.File(path, "w") as file:
            file["x"] = 1
    elif name == "link":
        write(tmp_path / "secret.h5", values())
        write(path, values())
        with h5py.File(path, "a") as file:
            del file["k16"]
            file["k16"] = h5py.ExternalLink("secret.h5", "k16")
    with pytest.raises(PipelineError, match=r"units\.h5: .*dvc repro") as caught:
        Units(path)
    assert "\n" not in str(caught.value)


def test_codebooks_come_back(tmp_path: Path) -> None:
    given = {k: np.random.default_rng(k).random((k, 3)).astype(np.float32) for k in (16, 2)}
    codebooks.save_codebooks(tmp_path / "codebooks.safetensors", given)
    found = codebooks.read_codebooks(tmp_path / "codebooks.safetensors")
    assert list(found) == [2, 16]
    assert all(np.array_equal(found[k], given[k]) for k in given)
