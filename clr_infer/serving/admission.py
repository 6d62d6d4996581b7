"""How much an image-level model takes in, and works on, at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Admission", "Room"]


class Admission:
    """Counts requests and the bytes of their inputs; safe to use from several threads.

    Args:
        requests: that may be inside at once.
        input_bytes: that they may have together; a request that is alone may have more.
    """

    def __init__(self, requests: int, input_bytes: int) -> None:
        self._requests_max, self._bytes_max = requests, input_bytes
        self._requests = self._bytes = 0
        self._lock = threading.Lock()

    def enter(self, input_bytes: int) -> bool:
        """Let a request in; ``False`` if there is no room."""
        with self._lock:
            full = self._requests >= self._requests_max
            large = self._bytes + input_bytes > self._bytes_max
            if full or (large and self._requests):
                return False
            self._requests += 1
            self._bytes += input_bytes
            return True

    def leave(self, input_bytes: int) -> None:
        """Make room again."""
        with self._lock:
            self._requests -= 1
            self._bytes -= input_bytes


class Room:
    """Bounds the pixels that threads work on at once: a small file may hold a large picture.

    Args:
        pixels: for all of them together.
    """

    def __init__(self, pixels: int) -> None:
        self._all = self._left = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many pixels; more than all counts as all."""
        pixels = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._left += pixels
                self._changed.notify_all()
