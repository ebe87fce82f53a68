"""HTTP/2 framing behind a small seam: bytes in, calls out; no socket, no clock.

`ngh2` (libnghttp2 in C) does the work: 24 us of CPU a push where pure Python takes 250 to 400. It is young and pinned
exactly, so `h2` stands behind the same seam with the same behaviour, for platforms without a wheel of ngh2 and for the
day it fails us; one suite runs over both. Rejected: pycurl (three quarters of the rate, and its own event loop glue).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame

from notifier.errors import NotifierError

try:
    import ngh2
except ImportError:  # no wheel for this platform: slow, and right
    ngh2 = None  # type: ignore[assignment, unused-ignore]  # a module, where there is one

Header = tuple[bytes, bytes]

NO_ERROR: Final = 0x0
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
UNLIMITED_STREAMS: Final = 2**31 - 1
"""RFC 9113 §6.5.2: without SETTINGS_MAX_CONCURRENT_STREAMS there is no limit."""
HEADER_BYTES_MAX: Final = 16_384
"""The decoded header list of one answer; more breaks that stream or the connection."""
SETTINGS_FRAME: Final = b"\x04"
"""The type of the first frame a server sends (RFC 9113 §3.4)."""
PING_PAYLOAD: Final = b"notifier"


class EngineClosed(NotifierError):
    """No request can be begun on this connection any more."""


class EngineBroken(NotifierError):
    """What the peer sent is not HTTP/2; nothing more can be read from it."""


class Listener(Protocol):
    """What an engine finds in the bytes, in their order."""

    def on_answer(self, stream_id: int, headers: Sequence[Header]) -> None: ...

    def on_body(self, stream_id: int, chunk: bytes) -> None: ...

    def on_end(self, stream_id: int, code: int) -> None:
        """The stream is over: NO_ERROR after a whole answer, else the reset's code. May come twice."""
        ...

    def on_settings(self, streams_max: int) -> None: ...

    def on_goaway(self, last_stream_id: int, code: int) -> None: ...


class Engine(Protocol):
    """One client connection's protocol state. Received data is acknowledged to flow control by itself."""

    def start(self) -> None: ...

    def submit(self, headers: Sequence[Header], body: bytes) -> int:
        """Queues one request and names its stream; raises EngineClosed. What flow control stops is sent later.

        Both engines keep `authorization` out of the compression table (RFC 7541 §7.1.3)."""
        ...

    def receive(self, received: bytes, listener: Listener) -> None:
        """Raises EngineBroken."""
        ...

    def take(self) -> bytes:
        """What can be written now, once."""
        ...

    def body_waits(self, stream_id: int) -> bool:
        """Part of the request's body has not been taken: the peer cannot have acted on it."""
        ...

    def reset(self, stream_id: int) -> None: ...

    def ping(self) -> None: ...

    def stop(self) -> None:
        """Queues our GOAWAY."""
        ...

    @property
    def finished(self) -> bool:
        """The protocol is over: nothing will come, nothing will go."""
        ...


class Ngh2Engine:
    """libnghttp2."""

    def __init__(self) -> None:
        # The connection submits nothing before SETTINGS and counts its streams itself; 1 is only the belt to that.
        limits = ngh2.Configuration(peer_max_concurrent_streams=1, max_inbound_header_list_size=HEADER_BYTES_MAX)
        self._http = ngh2.Connection(ngh2.Role.CLIENT, limits)
        self._settled = False
        self._over = False

    def start(self) -> None:
        self._http.initiate_connection({ngh2.Setting.ENABLE_PUSH: 0})

    def submit(self, headers: Sequence[Header], body: bytes) -> int:
        try:
            stream_id = self._http.send_request(headers)
            self._http.send_data(stream_id, body, end_stream=True)
        except ngh2.NGH2Error as error:
            raise EngineClosed(type(error).__name__) from error
        return stream_id

    def receive(self, received: bytes, listener: Listener) -> None:
        try:
            self._http.receive_data(received)
        except ngh2.NGH2Error as error:
            self._over = True
            self._dispatch(listener)
            raise EngineBroken(type(error).__name__) from error
        self._dispatch(listener)

    def _dispatch(self, listener: Listener) -> None:
        for event in self._http.events():
            if isinstance(event, ngh2.ResponseReceived):
                listener.on_answer(event.stream_id, event.headers)
                if event.end_stream:
                    listener.on_end(event.stream_id, NO_ERROR)
            elif isinstance(event, ngh2.DataReceived):
                listener.on_body(event.stream_id, event.data)
                if event.end_stream:
                    listener.on_end(event.stream_id, NO_ERROR)
            elif isinstance(event, ngh2.StreamClosed | ngh2.StreamReset):
                listener.on_end(event.stream_id, event.error_code)
            elif isinstance(event, ngh2.SettingsReceived):
                self._on_settings(event.settings.get(ngh2.Setting.MAX_CONCURRENT_STREAMS), listener)
            elif isinstance(event, ngh2.GoAwayReceived):
                listener.on_goaway(event.last_stream_id, event.error_code)
            elif isinstance(event, ngh2.ConnectionClosed):
                self._over = True

    def _on_settings(self, streams_max: int | None, listener: Listener) -> None:
        if streams_max is not None or not self._settled:
            listener.on_settings(UNLIMITED_STREAMS if streams_max is None else streams_max)
        self._settled = True

    def take(self) -> bytes:
        return b"" if self._over else self._http.data_to_send()

    def body_waits(self, stream_id: int) -> bool:
        return self._http.queued_body_size(stream_id) > 0

    def reset(self, stream_id: int) -> None:
        if not self.finished:
            self._http.reset_stream(stream_id, CANCEL)

    def ping(self) -> None:
        if not self.finished:
            self._http.ping(PING_PAYLOAD)

    def stop(self) -> None:
        if not self.finished:
            self._http.terminate_connection(NO_ERROR)

    @property
    def finished(self) -> bool:
        return self._over or not (self._http.want_read or self._http.want_write)


class _PatientConnection(h2.connection.H2Connection):
    """h2 shuts its state machine on the first GOAWAY; RFC 9113 §6.8 lets the streams up to last-stream-id finish."""

    def _receive_goaway_frame(
        self, frame: hyperframe.frame.GoAwayFrame
    ) -> tuple[list[hyperframe.frame.Frame], list[h2.events.Event]]:
        event = h2.events.ConnectionTerminated()
        event.error_code = frame.error_code  # type: ignore[assignment, unused-ignore]  # its type is an enum; a peer may send any number
        event.last_stream_id = frame.last_stream_id
        return [], [event]


class H2Engine:
    """Pure Python: 250 to 400 us of CPU a request, growing with the number of streams in flight."""

    def __init__(self) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False)
        self._http = _PatientConnection(config)
        self._http.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes.ENABLE_PUSH: 0}
        )
        self._http.decoder.max_header_list_size = HEADER_BYTES_MAX
        self._waiting: dict[int, bytes] = {}
        """Bodies, or what is left of them, that flow control holds back."""
        self._heard = False
        self._leaving = False
        self._settled = False
        self._over = False

    def start(self) -> None:
        self._http.initiate_connection()

    def submit(self, headers: Sequence[Header], body: bytes) -> int:
        if self._leaving or self._over:
            raise EngineClosed("GoAway")
        try:
            stream_id = self._http.get_next_available_stream_id()
            self._http.send_headers(stream_id, headers)
        except h2.exceptions.ProtocolError as error:
            raise EngineClosed(type(error).__name__) from error
        self._waiting[stream_id] = body
        self._send_body(stream_id)
        return stream_id

    def _send_body(self, stream_id: int) -> None:
        """As much as the windows of stream and connection allow."""
        left = self._waiting.pop(stream_id)
        while room := min(self._http.local_flow_control_window(stream_id), self._http.max_outbound_frame_size):
            if room < 0:
                break
            chunk, left = left[:room], left[room:]
            self._http.send_data(stream_id, chunk, end_stream=not left)
            if not left:
                return
        self._waiting[stream_id] = left

    def receive(self, received: bytes, listener: Listener) -> None:
        if not self._heard and received[3:4] not in (b"", SETTINGS_FRAME):
            self._over = True  # h2 would wait for megabytes of a frame
            raise EngineBroken("NoSettings")
        self._heard = True
        try:
            events = self._http.receive_data(received)
        except h2.exceptions.ProtocolError as error:
            self._over = True
            raise EngineBroken(type(error).__name__) from error
        for event in events:
            self._dispatch(event, listener)

    def _dispatch(self, event: h2.events.Event, listener: Listener) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            listener.on_answer(event.stream_id, [(bytes(name), bytes(value)) for name, value in event.headers])
        elif isinstance(event, h2.events.DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            listener.on_body(event.stream_id, event.data)
        elif isinstance(event, h2.events.StreamEnded):
            listener.on_end(event.stream_id, NO_ERROR)
        elif isinstance(event, h2.events.StreamReset):
            self._waiting.pop(event.stream_id, None)
            listener.on_end(event.stream_id, event.error_code)
        elif isinstance(event, h2.events.WindowUpdated):
            self._resume()
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._on_settings(event.changed_settings, listener)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._leaving = True
            listener.on_goaway(event.last_stream_id or 0, int(event.error_code or 0))

    def _on_settings(self, changed: dict[int, h2.settings.ChangedSetting], listener: Listener) -> None:
        streams_max = changed.get(h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS)
        if streams_max is not None or not self._settled:
            listener.on_settings(UNLIMITED_STREAMS if streams_max is None else streams_max.new_value)
        self._settled = True
        self._resume()  # RFC 9113 §6.9.2: a new initial window size moves every stream's window

    def _resume(self) -> None:
        for stream_id in list(self._waiting):
            if self._http.outbound_flow_control_window <= 0:
                return
            self._send_body(stream_id)

    def take(self) -> bytes:
        return self._http.data_to_send()

    def body_waits(self, stream_id: int) -> bool:
        return stream_id in self._waiting

    def reset(self, stream_id: int) -> None:
        self._waiting.pop(stream_id, None)
        try:
            self._http.reset_stream(stream_id, CANCEL)
        except h2.exceptions.ProtocolError:
            return  # it has ended meanwhile

    def ping(self) -> None:
        self._http.ping(PING_PAYLOAD)

    def stop(self) -> None:
        if not self._over:
            self._over = True
            self._http.close_connection()

    @property
    def finished(self) -> bool:
        return self._over


def default_engine() -> Engine:
    """A new engine: ngh2 where it is installed."""
    return H2Engine() if ngh2 is None else Ngh2Engine()
