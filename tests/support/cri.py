"""What Kubernetes asks of containerd: the Container Runtime Interface, by its socket within a host of the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from engine import command

if TYPE_CHECKING:
    from hosts import Machine

SERVICE = "/runtime.v1.ImageService"


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer: text, bytes or a message."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _call(machine: Machine, method: str, request: bytes) -> bytes:
    # The socket is reached by the file system of the host's init, so that nothing has to run in the host.
    init = command("docker", "inspect", "--format={{.State.Pid}}", machine.container).stdout.strip()
    with grpc.insecure_channel(f"unix:///proc/{init}/root/run/containerd/containerd.sock") as channel:
        return channel.unary_unary(f"{SERVICE}/{method}")(request, timeout=60)


def pull(machine: Machine, image: str) -> str:
    """Pull as a kubelet does without a pull secret. Raises grpc.RpcError."""
    # PullImageRequest.image, an ImageSpec, whose image is the first field; so is image_ref of the answer.
    answer = _call(machine, "PullImage", _field(1, _field(1, image.encode())))
    return answer[2:].decode()


def remove(machine: Machine, image: str) -> None:
    _call(machine, "RemoveImage", _field(1, _field(1, image.encode())))
