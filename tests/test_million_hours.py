"""What docs/cluster.md says of a million hours is what the script computes."""

import pytest

from benchmarks import million_hours
from pipeline.ground.code import ROOT

CASE = million_hours.Case(1000, 3.6, 4.0, 23.0, 8.0, 1.39)


def test_the_page_has_the_script_s_table(capsys: pytest.CaptureFixture[str]) -> None:
    million_hours.main()
    assert capsys.readouterr().out in (ROOT / "docs/cluster.md").read_text("utf-8")


def test_quantities_by_hand() -> None:
    """1,000 hours are a million clips of 3.6 s; 8 Gbit/s are a GB a second."""
    found = dict(million_hours.rows(CASE))
    assert found["clips of 3.6 s"] == "1 million"
    # 50 frames of 768 values of two bytes a second.
    assert found["frames of one layer, float16"] == "0.3 TB, 6 $ a month"
    assert found["card-hours from FLAC to HDF5, as last measured"] == "2, 7 $"
    assert found["cards until one driver's network is full, one layer's frames"] == "0.6"
    assert found["hours of speech in 1.39 GB of it"] == "1,000"
