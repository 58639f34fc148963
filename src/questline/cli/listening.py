"""Sockets that listen, and errors that say who is in the way."""

import errno
import socket

import psutil

BACKLOG = 2048


class CannotListen(Exception):
    """A port cannot be listened on; the message says why and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises CannotListen that names a busy port and who has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if port and error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"port {port} on {host} is busy{_holder(port)}; stop that, or choose another, such as --port {port + 1}"
            ) from error
        raise CannotListen(f"cannot listen on port {port} of {host}: {error.strerror}; choose another") from error


def url_of(listener: socket.socket) -> str:
    """Return the URL at which a listening socket is reached from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f" (process {connection.pid}, {psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass  # other users' processes may be hidden from us
    return ""
