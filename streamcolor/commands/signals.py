"""SIGTERM and SIGHUP clear away what is half-written, as Ctrl-C does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType

# Seconds that a stopped command has to clear away, twice, before it is ended as it stands.
_PATIENCE = 3.0


@contextlib.contextmanager
def stopped_by_signals(came: list[int]) -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, and the number of the first one is put into ``came``.

    Signals that are ignored (nohup) or that somebody handles stay so.
    """
    process, first = os.getpid(), 0.0

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal first
        if os.getpid() != process:  # a child that was forked ends as it would
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not came or time.monotonic() - first > 1:  # timeout sends two at once: clearing away goes on
            first = first or time.monotonic()
            came.append(number)
            _leave_gone_terminal()
            raise KeyboardInterrupt

    ours: list[int] = []
    if threading.current_thread() is threading.main_thread():
        known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        ours = [number for number in known if signal.getsignal(number) == signal.SIG_DFL]
    if not ours:
        yield
        return
    heard, told = socket.socketpair()
    told.setblocking(False)
    done = threading.Event()
    threading.Thread(target=_end_in_time, args=(heard, ours, done), name="signals", daemon=True).start()
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        done.set()
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(before)
        told.close()


def _end_in_time(heard: socket.socket, ours: Sequence[int], done: threading.Event) -> None:
    """Python runs its handlers in the main thread only, which may wait in a library for a source that stands still."""
    with heard:
        while number := heard.recv(1):
            if number[0] not in ours:
                continue
            if not done.wait(_PATIENCE):  # a thread that waits is left behind, what is half-written is not
                os.kill(os.getpid(), number[0])
            if not done.wait(_PATIENCE):
                os._exit(128 + number[0])


def _leave_gone_terminal() -> None:
    """Whoever closes a terminal sends SIGHUP; what would still be said there goes nowhere."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
