"""The errors that streamcolor raises, each with its exit code and one sentence for the user.

    StreamcolorError                 1    a bug of ours, or a child without a better place
    ├── CallError       ValueError   2    wrong call: unknown option, model, codec, key; bad configuration
    ├── InputError      ValueError   3    the input is not usable
    ├── OutputError     OSError      4    the output cannot be written
    ├── DeviceError     RuntimeError 5    a device or peer failed
    └── Interrupted                  130  the user stopped the run

Where the reader of our output has gone, the code is 141, as of any Unix filter (128 + SIGPIPE).
A command that SIGTERM stopped ends with 143, one that SIGHUP stopped with 129.
Raise where the cause is understood; the sentence names the thing and says what to do. They are shown
in one place, ``streamcolor.commands``.
"""

from __future__ import annotations

from typing import ClassVar


class StreamcolorError(Exception):
    """Base of all errors of this package. ``str(error)`` is the one sentence for the user."""

    exit_code: ClassVar[int] = 1


class CallError(StreamcolorError, ValueError):
    """The call is wrong: an option, model, codec or key that does not exist or does not fit."""

    exit_code = 2


class InputError(StreamcolorError, ValueError):
    """The input cannot be used: not a film, damaged beyond repair, a reference that fits nothing."""

    exit_code = 3


class OutputError(StreamcolorError, OSError):
    """The output cannot be written: read-only folder, full disk, existing file."""

    exit_code = 4


class DeviceError(StreamcolorError, RuntimeError):
    """A device or a peer failed: out of memory after the fallback, no such device, node gone."""

    exit_code = 5


class Interrupted(StreamcolorError):
    """The user stopped the run; nothing half-written is left behind."""

    exit_code = 130
