"""A network of the browser's own, which nothing changes while it looks.

Chromium ends what it loads with ERR_NETWORK_CHANGED as soon as the host gains or loses an address, as it does with each
container that starts. Its network has a loopback alone; a SOCKS proxy there leads to the host's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import shlex
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
SUCCEEDED, NOT_ALLOWED = (b"\x05" + bytes([status]) + b"\x00\x01" + bytes(6) for status in (0, 2))


def _open_network() -> tuple[int, socket.socket]:
    """A network, as a file descriptor, and a socket that listens in it. The thread that calls this stays in it."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"The browser gets no network of its own: {os.strerror(error)}")
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    fcntl.ioctl(listening, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY), listening


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of the browser (RFC 1928), which asks for no login, and for nothing but connections."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
        await reader.readexactly((await reader.readexactly(2))[1])
        writer.write(b"\x05\x00")
        kind = (await reader.readexactly(4))[3]
        if kind == 1:
            host = socket.inet_ntoa(await reader.readexactly(4))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        # The browser asks its vendor for updates, which is no part of a test.
        if host not in ("127.0.0.1", "localhost"):
            writer.write(NOT_ALLOWED)
            return
        there, to_there = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(to_there):
            writer.write(SUCCEEDED)
            await asyncio.gather(_copy(reader, to_there), _copy(there, writer))


@contextlib.contextmanager
def quiet_network(program: str, directory: Path) -> Iterator[dict]:
    """Options for the launch of `program` in a network of its own. Without root's rights, it has the host's."""
    if os.geteuid() != 0:
        yield {"executable_path": program}
        return
    with ThreadPoolExecutor(1) as thread:
        network, listening = thread.submit(_open_network).result()
    wrapper = directory / "browser"
    wrapper.write_text(f'#!/bin/sh\nexec nsenter --net=/proc/{os.getpid()}/fd/{network} {shlex.quote(program)} "$@"\n')
    wrapper.chmod(0o755)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(_serve, sock=listening))
    running = threading.Thread(target=loop.run_forever, daemon=True)
    running.start()
    try:
        yield {
            "executable_path": wrapper,
            "proxy": {"server": f"socks5://127.0.0.1:{listening.getsockname()[1]}"},
        }
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        running.join()
        os.close(network)
