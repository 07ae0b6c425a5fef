"""The stages; run as a command, one answers to signals from here on, before its slow imports."""

import sys

from pipeline.ground import ending

if sys.argv[:1] == ["-m"]:  # `python -m stages.x` while it looks for the module in this package
    ending.take_signals()
    ending.collect_seldom()
