"""Golden inferences at intervals: a server that says it is ready may still answer nothing."""

import threading
from dataclasses import dataclass
from typing import Any

from ..client import Client, Retry
from ..errors import DeadlineExceeded, ServerUnavailable
from ..specs import SPECS
from . import golden
from .contract import IMAGE_MODELS, QUEUE_FULL

__all__ = ["Failure", "Heartbeat"]


@dataclass(frozen=True)
class Failure:
    """A golden inference that failed twice running.

    Attributes:
        step: at which call.
        reason: in words.
        count: how many were reported since the last that came back.
    """

    step: str
    reason: str
    count: int

    @property
    def models(self) -> set[str]:
        """The served models that the step needs."""
        image_level = IMAGE_MODELS[self.step]
        return {image_level.name, *(SPECS[name].model_name for name in image_level.networks)}


class Heartbeat:
    """Sends golden inferences from a thread of its own.

    A server that turns one away because its queue is full is alive, and so is one that lets it wait
    too long while it answers others; nothing is sent twice to such a server.

    Args:
        url: of the server.
        interval_s: from the end of one to the beginning of the next.
        timeout_s: of each of its calls.
    """

    def __init__(self, url: str, interval_s: float, timeout_s: float) -> None:
        self._url, self._interval_s, self._timeout_s = url, interval_s, timeout_s
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._failure: Failure | None = None
        self._count = self._era = 0
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin, one interval from now."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; one that is under way is not waited for."""
        self._ended.set()

    def take(self) -> Failure | None:
        """The failure that was found since the last question, if any."""
        with self._lock:
            failure, self._failure = self._failure, None
            return failure

    def forget(self) -> None:
        """Whatever was or is being found does not count: the server was just put right."""
        with self._lock:
            self._failure = None
            self._era += 1

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            era = self._era
            if (found := self.beat()) and not self._ended.is_set():
                found = self.beat()
            with self._lock:
                if found is None:
                    self._count = 0
                elif era == self._era and not self._ended.is_set():
                    self._count += 1
                    self._failure = Failure(*found, self._count)

    def beat(self) -> tuple[str, str] | None:
        """One golden inference; the step that failed and why, ``None`` if the server is alive."""
        done: dict[str, float] = {}
        try:
            with Client(self._url, timeout_s=self._timeout_s, retry=Retry(budget=0)) as client:
                before = client.stats()
                try:
                    golden.check(client, done)
                except ServerUnavailable as error:
                    return None if QUEUE_FULL in str(error) else self._failed(done, error)
                except DeadlineExceeded as error:
                    moved = _moved(_step(done), before, client.stats())
                    return None if moved else self._failed(done, error)
        except Exception as error:  # an answer that nobody foresaw is no sign of life either
            return self._failed(done, error)
        return None

    def _failed(self, done: dict[str, float], error: Exception) -> tuple[str, str]:
        return _step(done), f"{type(error).__name__}: {error}"


def _step(done: dict[str, float]) -> str:
    return next((step for step in golden.STEPS if step not in done), golden.STEPS[-1])


def _moved(step: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Did the networks of a step answer others meanwhile?"""
    names = [SPECS[name].model_name for name in IMAGE_MODELS[step].networks]
    return all(
        after.get(n, {}).get("success_count", 0) > before.get(n, {}).get("success_count", 0)
        for n in names
    )
