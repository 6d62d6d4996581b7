"""The ``tritonserver`` binary for laptops and tests, out of NVIDIA's wheel ``nvidia-pytriton``.

That wheel wants numpy 1 in its environment; ours needs numpy 2. Nothing of its Python code is used
here, so it is not installed but unpacked by pip, without dependencies, into a cache folder.
"""

import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import RuntimeUnavailable

__all__ = ["MALLOC", "Distribution", "cache_folder", "ensure_distribution", "unpack_wheel"]

_VERSION = "0.7.0"
_WHEEL = (
    f"nvidia-pytriton=={_VERSION} "
    "--hash=sha256:21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"
)
_STUBS = ("3.11", "3.12", "3.13")
# Frames of 3 MB come and go with every request. As it is, glibc returns each to the system and
# pays some 2 ms of page faults for the next; so it keeps what is below 32 MiB. As in deploy/.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}


@dataclass(frozen=True)
class Distribution:
    """An unpacked server.

    Attributes:
        folder: where the wheel was unpacked.
    """

    folder: Path

    @property
    def binary(self) -> Path:
        """The server."""
        return self.folder / "pytriton" / "tritonserver" / "bin" / "tritonserver"

    @property
    def libraries(self) -> Path:
        """The shared libraries that came with it."""
        return self.folder / "nvidia_pytriton.libs"

    def environment(self) -> dict[str, str]:
        """The environment to start the server in.

        The stub embeds Python and finds this interpreter's packages by the first ``python3`` of
        PATH, in a virtual environment as well.
        """
        bin_folder = os.path.dirname(sys.executable)
        library_path = [str(self.libraries), sysconfig.get_config_var("LIBDIR") or ""]
        library_path.append(os.environ.get("LD_LIBRARY_PATH", ""))
        return {
            **MALLOC,
            **os.environ,
            "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", os.defpath)]),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, library_path)),
        }

    def lay_out_backend(self, folder: Path) -> None:
        """Make a backend folder whose stub is that of this interpreter's version.

        Raises:
            RuntimeUnavailable: there is no such stub, or it does not start here.
        """
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        if version not in _STUBS:
            raise RuntimeUnavailable(
                f"the embedded server runs models in Python {', '.join(_STUBS)}, not {version}"
            )
        server = self.folder / "pytriton" / "tritonserver"
        backend = folder / "python"
        backend.mkdir(parents=True)
        for path in (server / "backends" / "python").iterdir():
            (backend / path.name).symlink_to(path)
        name = "triton_python_backend_stub"
        stub = backend / name
        if not stub.exists():
            stub.symlink_to(server / "python_backend_stubs" / version / name)
        tried = subprocess.run([stub], env=self.environment(), capture_output=True, text=True)
        if "error while loading shared libraries" in tried.stderr:
            missing = tried.stderr.strip().split(": ", 1)[-1]
            raise RuntimeUnavailable(
                f"the server's Python {version} does not start: {missing} "
                f"(on Debian and Ubuntu: apt install libpython{version})"
            )


def cache_folder() -> Path:
    """Where downloads are kept: ``CLR_INFER_CACHE``, or ``clr_infer`` in the user's cache."""
    if chosen := os.environ.get("CLR_INFER_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clr_infer"


def ensure_distribution() -> Distribution:
    """The server, downloaded on first use (53 MiB, 150 MB on disk).

    Raises:
        RuntimeUnavailable: there is none for this machine, or it cannot be downloaded.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise RuntimeUnavailable(
            "the embedded server is for Linux on x86_64; elsewhere use the container in deploy/"
        )
    return Distribution(unpack_wheel(_WHEEL, f"tritonserver-{_VERSION}"))


def unpack_wheel(requirement: str, name: str) -> Path:
    """Unpack one wheel into the cache with pip, without its dependencies, if it is not there yet.

    Args:
        requirement: an exact version with its hash, as in a requirements file.
        name: of the folder in the cache.

    Returns:
        The folder.

    Raises:
        RuntimeUnavailable: pip failed; nothing was left behind.
    """
    target = cache_folder() / name
    if target.is_dir():
        return target
    package = requirement.split()[0]
    print(f"downloading {package} into {target} (once)", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as work:
        wanted, staging = Path(work) / "requirements.txt", Path(work) / "unpacked"
        wanted.write_text(requirement + "\n", "utf-8")
        command = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--no-compile", "--disable-pip-version-check"]
        command += ["--progress-bar", "on" if sys.stderr.isatty() else "off"]
        command += ["--quiet"] if not sys.stderr.isatty() else []
        command += ["--target", str(staging), "--requirement", str(wanted)]
        # Only a terminal has progress to show; a captured stream may have no file behind it.
        shown = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
        done = subprocess.run(command, stdout=shown, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeUnavailable(
                f"{package} could not be downloaded by pip (it needs Linux x86_64 with glibc 2.35 "
                f"or newer, pip, and the network on first use): {reason}"
            )
        try:
            staging.rename(target)
        except OSError:  # another process was faster
            if not target.is_dir():
                raise
    return target
