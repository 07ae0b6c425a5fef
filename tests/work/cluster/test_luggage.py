"""What travels to a worker lies there as it lay here, and is gone when it was read."""

from pathlib import Path

import pytest

from pipeline.work.cluster.luggage import Luggage, unpacked


def test_it_is_unpacked_where_paths_lead_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model/inside").mkdir(parents=True)
    (tmp_path / "model/inside/weights").write_bytes(b"\0\1")
    (tmp_path / "params.yaml").write_text("seed: 1")
    far = tmp_path / "model"
    luggage = Luggage.of([Path("params.yaml"), Path("model"), far])
    with luggage.opened():
        there = Path.cwd()
        assert there != tmp_path
        assert Path("params.yaml").read_text() == "seed: 1"
        for folder in (Path("model"), far):
            assert (there / unpacked(folder) / "inside/weights").read_bytes() == b"\0\1"
    assert Path.cwd() == tmp_path
    assert not there.exists()


def test_its_checksum_is_of_names_and_content(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    sums = {Luggage.of([tmp_path / name]).sha256 for name in "abc"}
    assert len(sums) == 3
    assert Luggage.of([tmp_path / "a"]).sha256 in sums
