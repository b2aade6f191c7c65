"""What Kubernetes asks of containerd: the Container Runtime Interface, by its socket within a host of the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from engine import command

if TYPE_CHECKING:
    from hosts import Machine

IMAGES, RUNTIME = "/runtime.v1.ImageService", "/runtime.v1.RuntimeService"
# NamespaceMode: that of the node, which needs no network of pods.
NODE = 2


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer: text, bytes or a message."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3, value])


def _call(machine: Machine, method: str, request: bytes, service: str = IMAGES) -> bytes:
    # The socket is reached by the file system of the host's init, so that nothing has to run in the host.
    init = command("docker", "inspect", "--format={{.State.Pid}}", machine.container).stdout.strip()
    with grpc.insecure_channel(f"unix:///proc/{init}/root/run/containerd/containerd.sock") as channel:
        return channel.unary_unary(f"{service}/{method}")(request, timeout=60)


def pull(machine: Machine, image: str) -> str:
    """Pull as a kubelet does without a pull secret. Raises grpc.RpcError."""
    # PullImageRequest.image, an ImageSpec, whose image is the first field; so is image_ref of the answer.
    answer = _call(machine, "PullImage", _field(1, _field(1, image.encode())))
    return answer[2:].decode()


def run(machine: Machine, pod: str, image: str, *words: str) -> str:
    """Run a container in a pod of its own, as a kubelet does. Returns the identifier of the pod."""
    # PodSandboxConfig: metadata (name, uid, namespace), labels, linux.security_context.namespace_options.network.
    name, namespace = _field(1, pod.encode()), _field(3, b"shop")
    labels = {"io.kubernetes.pod.name": pod, "io.kubernetes.pod.namespace": "shop"}
    sandbox = _field(1, name + _field(2, pod.encode()) + namespace) + _labels(6, labels)
    sandbox += _field(8, _field(2, _field(1, _number(1, NODE))))
    identifier = _call(machine, "RunPodSandbox", _field(1, sandbox), RUNTIME)[2:]
    # ContainerConfig: metadata.name, image.image, command, labels.
    config = _field(1, _field(1, b"web")) + _field(2, _field(1, image.encode()))
    config += b"".join(_field(3, word.encode()) for word in words)
    config += _labels(9, {**labels, "io.kubernetes.container.name": "web"})
    request = _field(1, identifier) + _field(2, config) + _field(3, sandbox)
    container = _call(machine, "CreateContainer", request, RUNTIME)[2:]
    _call(machine, "StartContainer", _field(1, container), RUNTIME)
    return identifier.decode()


def _labels(number: int, labels: dict[str, str]) -> bytes:
    pairs = (_field(1, key.encode()) + _field(2, value.encode()) for key, value in labels.items())
    return b"".join(_field(number, pair) for pair in pairs)


def end(machine: Machine, pod: str) -> None:
    for method in ("StopPodSandbox", "RemovePodSandbox"):
        _call(machine, method, _field(1, pod.encode()), RUNTIME)


def remove(machine: Machine, image: str) -> None:
    _call(machine, "RemoveImage", _field(1, _field(1, image.encode())))
