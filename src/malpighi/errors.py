"""Every error malpighi raises on purpose.

A message is one line that says what came, what is allowed and what to do; it names the file it speaks of. Each kind is
also the builtin that callers would expect to catch, and carries the exit code the command line ends with.
"""

from __future__ import annotations


class MalpighiError(Exception):
    """Base of all expected errors. `exit_code` is what the command line ends with."""

    exit_code = 1


class RecipeError(MalpighiError, ValueError):
    """A recipe or an option is wrong: unknown key, wrong type, values that contradict each other."""

    exit_code = 2


class DataError(MalpighiError, ValueError):
    """A file or folder is not what it should be: unreadable, truncated, empty, inconsistent."""

    exit_code = 3


class SpacingError(MalpighiError, ValueError):
    """Micrometres and pixels would have been mixed. The message names `--spacing`."""

    exit_code = 3


class TileError(DataError):
    """One tile of an otherwise good image cannot be decoded. The message names file, level and position."""


class OutputError(MalpighiError, OSError):
    """Output cannot be written: it exists, the disk is full, permission is missing."""

    exit_code = 4


class DependencyError(MalpighiError, ImportError):
    """An optional package is needed and absent. The message gives the install command."""

    exit_code = 2


class DamagedOutput(MalpighiError, RuntimeError):
    """Work was finished, but part of the input was unreadable and left out; the message lists what."""

    exit_code = 5
