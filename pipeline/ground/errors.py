"""Expected failures: one line that names the place, the rule and the remedy."""

import errno
import os


class PipelineError(Exception):
    """A failure that the user can mend.

    The message is one line, ``place: rule, expected, got, remedy``; the stage entry prints it on
    stderr and exits with status 1. Anything else that escapes a stage is a defect of ours.
    """


def reason(error: OSError) -> str:
    """Why the operating system, or a library in its name, refused."""
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))


def remedy(error: OSError) -> str:
    """What to do about a refusal. What it is about may be good: nothing is ever to be deleted."""
    return _REMEDIES.get(error.errno or 0, _MEND)


_MEND = "mend this and run it again"
_FULL = "free some space and run it again"
_RIGHTS = "mend its permissions and run it again"
_MANY = "raise the limit of open files (`ulimit -n`) and run it again"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EFBIG: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "mount it writable and run it again",
    errno.ENOENT: "run `dvc repro`, which makes what is missing",
    errno.EAGAIN: "wait for that program or close it, and run it again",
    errno.ENOLCK: "set HDF5_USE_FILE_LOCKING=FALSE and run it again",
    errno.EMFILE: _MANY,
    errno.ENFILE: _MANY,
    errno.EIO: "check the disk and run it again",
    errno.ESTALE: "check the server that the file is on and run it again",
}
