"""What a repository can be tuned for."""

from dataclasses import dataclass, replace

from ..errors import UsageError
from ..runtimes.triton_server import MAX_BATCH

__all__ = ["CPU_RUNTIMES", "PROFILES", "Profile", "chosen_profile"]

CPU_RUNTIMES = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Profile:
    """What a repository is tuned for.

    Attributes:
        queue_delay_us: how long the first request of a batch may wait for others; not of target
            ``python``, where batches bring nothing.
        instances: of each network-level model.
        threads: CPU threads of each network instance, 0 for all cores; target ``python`` only, and
            refinement without a GPU.
        workers: requests that each image-level model works on at once.
        max_queue: requests that may wait at each image-level model; more are turned away as
            UNAVAILABLE.
        max_input_bytes: of all requests that an image-level model works on or lets wait, together;
            they lie in ``/dev/shm``.
        cpu_runtime: of the networks of target ``python``, one of :data:`CPU_RUNTIMES`.
        refine: also serve :data:`.contract.REFINE_MODEL`, which needs PyTorch.
    """

    queue_delay_us: int = 0
    instances: int = 1
    threads: int = 0
    workers: int = MAX_BATCH
    max_queue: int = 128
    max_input_bytes: int = 192 << 20
    cpu_runtime: str = "onnxruntime"
    refine: bool = False


PROFILES = {
    "latency": Profile(),
    "throughput": Profile(
        queue_delay_us=2000, instances=2, threads=1, workers=4 * MAX_BATCH, max_queue=512
    ),
}


def chosen_profile(
    name: str,
    instances: int | None = None,
    cpu_runtime: str = "onnxruntime",
    refine: bool = False,
) -> Profile:
    """A profile by name, with another number of instances if one is given.

    Raises:
        UsageError: no such profile or runtime, or fewer than one instance.
    """
    if name not in PROFILES:
        raise UsageError(f"there is no profile {name!r}; choose one of {', '.join(PROFILES)}")
    if cpu_runtime not in CPU_RUNTIMES:
        raise UsageError(f"there is no {cpu_runtime!r}; choose one of {', '.join(CPU_RUNTIMES)}")
    profile = replace(PROFILES[name], cpu_runtime=cpu_runtime, refine=refine)
    if instances is None:
        return profile
    if instances < 1:
        raise UsageError(f"there must be at least 1 instance, not {instances}")
    return replace(profile, instances=instances)
