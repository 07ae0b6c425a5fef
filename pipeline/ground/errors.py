"""Expected failures: one line that names the place, the rule and the remedy."""


class PipelineError(Exception):
    """A failure that the user can mend.

    The message is one line, ``place: rule, expected, got, remedy``; the stage entry prints it on
    stderr and exits with status 1. Anything else that escapes a stage is a defect of ours.
    """
