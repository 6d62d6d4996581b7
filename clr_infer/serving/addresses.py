"""Addresses of the embedded server: of this machine alone, and free."""

import ipaddress
import socket

from ..errors import UsageError

__all__ = ["check_loopback", "free_ports"]


def check_loopback(host: str) -> None:
    """Refuse what others could reach.

    Raises:
        UsageError: not an address of this machine alone.
    """
    if host == "localhost":
        return
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise UsageError(
            f"{host}: the embedded server is an old release and serves this machine alone "
            "(127.0.0.1, ::1); to serve others, use the container in deploy/, see docs/serving.md"
        )


def free_ports(host: str, ports: tuple[int, ...]) -> list[int]:
    """The ports, 0 replaced by free ones; none of them is in use.

    Raises:
        UsageError: one is, is none, or is wanted twice.
    """
    if len(chosen := [port for port in ports if port]) != len(set(chosen)):
        raise UsageError(f"the ports must differ: {', '.join(map(str, ports))}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = []
    try:
        for port in ports:
            listener = socket.socket(family)
            opened.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except (OSError, OverflowError) as error:
                raise UsageError(f"port {port} of {host} cannot be used: {error}") from error
        return [listener.getsockname()[1] for listener in opened]
    finally:
        for listener in opened:
            listener.close()
