"""Files that appear under their name only when they are whole.

Data goes to a hidden file beside the target, reaches the disk, and is renamed; the folder is synced last.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamcolor.errors import CallError, OutputError


def check_target(path: Path, *, source: Path | None, overwrite: bool) -> None:
    """Raise CallError when ``path`` is the source itself, OutputError when it cannot be written there."""
    if path.exists():
        if source is not None and source.exists() and path.samefile(source):
            raise CallError(f"{path} is the film itself; name another --output")
        if path.is_dir():
            raise OutputError(f"{path} is a folder; name a file in it")
        if not overwrite:
            raise OutputError(f"{path} exists; give --overwrite to replace it, or name another --output")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist; make it first, or name another --output")


def temporary_sibling(path: Path) -> Path:
    """Create an empty hidden file ``.STEM.part-xxxx.SUFFIX`` beside ``path``. Raises OutputError."""
    part = path.with_name(f".{path.stem}.part-{secrets.token_hex(4)}{path.suffix}")
    try:
        # The mode is narrowed by the umask, as for every new file.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise write_failure(error, path) from error
    return part


def publish(part: Path, path: Path) -> None:
    """Sync ``part``, rename it to ``path`` and sync the folder. Raises OutputError; ``part`` then stays."""
    try:
        sync(part)
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        raise write_failure(error, path) from error


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A hidden file to write; it becomes ``path`` at the end, and is gone after an error. Raises OutputError."""
    part = temporary_sibling(path)
    try:
        yield part
        publish(part, path)
    except OSError as error:
        raise write_failure(error, path) from error
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_failure(error: Exception, path: Path) -> OutputError:
    """The sentence for an error while writing to ``path``."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"no space left on {_device(path)}: make room, or name an --output on another disk")
    if number == errno.EPIPE:
        return OutputError(f"{path}: the program that read the output went away")
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return OutputError(f"{path.parent} is read-only: name an --output in a folder that can be written")
    return OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}")


def _device(path: Path) -> str:
    """The mount point that holds ``path``: the disk in words that the user knows."""
    folder = path.parent.resolve()
    while not folder.is_mount() and folder != folder.parent:
        folder = folder.parent
    return str(folder)
