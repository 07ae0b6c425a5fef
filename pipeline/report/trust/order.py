"""The sections of this room, in the order in which they are read."""

from collections.abc import Sequence

from pipeline.report.sections import Make
from pipeline.report.trust import fairness_section, stress_section

SECTIONS: Sequence[Make] = (fairness_section.section, stress_section.section)
