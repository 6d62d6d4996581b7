"""Work on images in this process or in several, with the same results in the same order."""

import multiprocessing
import os
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from ..errors import ModelError, UsageError

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["Opener", "run_jobs"]

Job = TypeVar("Job", bound=Sized)
Result = TypeVar("Result")

_opened: "dict[str, Session]" = {}
"""That of this process, where it is one of several."""


@dataclass(frozen=True)
class Opener:
    """How to open a session, here or in another process.

    Attributes:
        runtime: its name.
        weights: a folder; ``None`` takes the weights in the package.
        threads: CPU threads of each process; ``None`` takes all cores. The last bits of what
            PyTorch computes depend on them.
    """

    runtime: str = "auto"
    weights: Path | None = None
    threads: int | None = None

    def __call__(self) -> "Session":
        """Open it.

        Raises:
            ModelError: the weights or the runtime cannot be used.
        """
        from ..session import load

        return load(self.runtime, weights=self.weights, threads=self.threads)


def _open(opener: Opener) -> None:
    if opener.threads is not None:  # for libraries that are not told otherwise
        os.environ["OMP_NUM_THREADS"] = str(opener.threads)
    _opened["session"] = opener()
    _opened["session"].warm_up()  # so that no timing includes it


def _work(work: Callable[..., Result], job: Job) -> Result:
    return work(_opened["session"], job, _nothing)


def _nothing() -> None:
    """Nobody watches single cases across processes."""


def run_jobs(
    work: Callable[["Session", Job, Callable[[], object]], Result],
    jobs: Sequence[Job],
    session: "Session",
    workers: int = 1,
    opener: Opener | None = None,
    progress: bool = True,
) -> list[Result]:
    """Do every job with a session.

    Args:
        work: takes a session, a job, and what to call after each of the job's cases. A function
            of a module, and nothing in it may depend on other jobs.
        jobs: their length is their number of cases.
        session: of this process.
        workers: processes; with one, this.
        opener: opens the session in each of several processes.
        progress: draw a bar on standard error.

    Returns:
        The results in the order of the jobs.

    Raises:
        UsageError: less than one process, or several and no way to open a session in them.
        ModelError: a process ended before its work was done.
    """
    if workers < 1:
        raise UsageError(f"workers must be at least 1, not {workers}")
    with tqdm(total=sum(map(len, jobs)), unit="case", disable=not progress) as bar:
        if workers == 1:
            return [work(session, job, bar.update) for job in jobs]
        if opener is None:
            raise UsageError("several workers need to know how to open a session")
        context = multiprocessing.get_context("spawn")  # a fork would share the runtime's threads
        with ProcessPoolExecutor(workers, context, partial(_open, opener)) as pool:
            results = []
            try:
                futures = [pool.submit(_work, work, job) for job in jobs]
                for job, future in zip(jobs, futures, strict=True):
                    results.append(future.result())
                    bar.update(len(job))
            except BrokenProcessPool as error:
                raise ModelError(
                    f"one of {workers} processes ended before its work was done: out of memory? "
                    "(take fewer workers)"
                ) from error
            except BaseException:  # leaving the block waits for what has not been given up
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return results
