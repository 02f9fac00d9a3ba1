"""Three stages side by side, joined by bounded queues; an error or a stop in one ends all of them.

    source (thread) ──queue──▶ middle (calling thread) ──queue──▶ sink (thread)

The calling thread keeps the middle so that Ctrl-C reaches it and torch runs where it was configured.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class Stopped(Exception):
    """Raised inside a stage when another one has failed: unwinds it without a word."""


class _Board:
    """What the stages share: the first error, and a bell that wakes everybody who waits on a queue."""

    def __init__(self) -> None:
        self.bell = threading.Condition()
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        with self.bell:
            if self.error is None and not isinstance(error, Stopped):
                self.error = error
            self.bell.notify_all()


class BoundedQueue(Generic[Item]):
    """First in, first out, at most ``length`` items; ``close`` ends the reader after the last one."""

    def __init__(self, board: _Board, length: int) -> None:
        self._board = board
        self._length = length
        self._items: deque[Item] = deque()
        self._closed = False

    def put(self, item: Item) -> None:
        """Waits while the queue is full. Raises Stopped when a stage has failed."""
        with self._board.bell:
            while len(self._items) >= self._length and self._board.error is None:
                self._board.bell.wait()
            if self._board.error is not None:
                raise Stopped
            self._items.append(item)
            self._board.bell.notify_all()

    def close(self) -> None:
        with self._board.bell:
            self._closed = True
            self._board.bell.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._board.bell:
                while not self._items and not self._closed and self._board.error is None:
                    self._board.bell.wait()
                if self._board.error is not None:
                    raise Stopped
                if not self._items:
                    return
                item = self._items.popleft()
                self._board.bell.notify_all()
            yield item


def flow_through(
    source: Iterable[Item],
    middle: Callable[[Iterator[Item]], Iterator[Made]],
    sink: Callable[[Made], None],
    *,
    length: int = 8,
) -> None:
    """Run ``sink(made)`` for everything that ``middle`` makes of ``source``, all three at once.

    Items arrive in order. The first exception of any stage is raised here after all stages have ended.
    """
    board = _Board()
    decoded: BoundedQueue[Item] = BoundedQueue(board, length)
    made: BoundedQueue[Made] = BoundedQueue(board, length)

    def read() -> None:
        for item in source:
            decoded.put(item)
        decoded.close()

    def write() -> None:
        for item in made:
            sink(item)

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def guard() -> None:
            try:
                work()
            except BaseException as error:
                board.fail(error)

        return guard

    threads = [
        threading.Thread(target=guarded(read), name="decode", daemon=True),
        threading.Thread(target=guarded(write), name="encode", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        for item in middle(iter(decoded)):
            made.put(item)
        made.close()
        threads[1].join()
    except BaseException as error:
        board.fail(error)
    for thread in threads:
        thread.join()
    if board.error is not None:
        raise board.error
