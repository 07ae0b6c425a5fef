"""Where a process listens, and who can reach it there."""

import ipaddress
import socket

from pipeline.ground.errors import PipelineError, reason


def is_loopback(host: str) -> bool:
    """Whether a name or address is that of this machine for itself alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url(listener: socket.socket, host: str) -> str:
    """What a browser is given to reach a socket that was `bound` to ``host``."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; who connects waits until the server takes over.

    Raises:
        PipelineError: There is no such address, or another one has the port.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise PipelineError(f"--host {host}: {reason(error)}, name one of this machine's") from None
    made = socket.socket(family, kind, number)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen()  # two may be bound to a port, and listen one alone
    except OSError as error:
        made.close()
        raise PipelineError(
            f"--port {port}: {reason(error)} at {host}, choose another one"
        ) from None
    return made
