"""When a request is sent again: never after an answer, always within its deadline and a budget."""

import random
import threading
import time
from dataclasses import dataclass

from ..errors import DeadlineExceeded

__all__ = ["Budget", "Retry", "left_s"]


def left_s(until: float) -> float:
    """Seconds that are left until a moment of :func:`time.monotonic`.

    Raises:
        DeadlineExceeded: none.
    """
    left = until - time.monotonic()
    if left <= 0.0:
        raise DeadlineExceeded("the time is over")
    return left


@dataclass(frozen=True)
class Retry:
    """How a client asks again while a server is unavailable.

    Nothing else is ever retried. All calls are free of side effects, so that a request whose
    answer was lost may be sent again.

    Attributes:
        first_s: the longest pause before the first retry; it doubles with each.
        most_s: the longest pause of all. Pauses are drawn from zero up to these (full jitter).
        budget: retries that a client may have open; each costs 1.
        refund: what each success gives back to the budget.
    """

    first_s: float = 0.05
    most_s: float = 1.0
    budget: float = 200.0
    refund: float = 0.2

    def pause_s(self, attempt: int) -> float:
        """How long to wait after failed attempt number ``attempt``, from 0."""
        return random.uniform(0.0, min(self.most_s, self.first_s * 2.0 ** min(attempt, 30)))


class Budget:
    """The retries that are left to a client: they run out if the server stays away.

    Args:
        policy: its size and refund.
    """

    def __init__(self, policy: Retry) -> None:
        self._policy = policy
        self._left = policy.budget
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one retry; ``False`` if none is left."""
        with self._lock:
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True

    def succeeded(self) -> None:
        """Give part of a retry back."""
        with self._lock:
            self._left = min(self._policy.budget, self._left + self._policy.refund)
