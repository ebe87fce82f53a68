"""An IMAP server that knows mailboxes and quotas and nothing else, as an administrator sees them."""

from __future__ import annotations

import re
import socketserver
import threading
from types import TracebackType
from typing import Self

COMMAND = re.compile(rb"(\S+) (\S+) ?(.*)\r\n")


class QuotaImap:
    """Listens from `with` to its end. `quotas` is mailbox → the resources of its root, `b"STORAGE 17 20"`, as RFC 9208
    §4.2.1 writes them; it may be changed at any time. Names in `literal` are listed as literals."""

    def __init__(self, quotas: dict[bytes, bytes]) -> None:
        self.quotas = quotas
        self.literal: frozenset[bytes] = frozenset()
        self.commands: list[bytes] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"* OK ready\r\n")
                while found := COMMAND.fullmatch(self.rfile.readline()):
                    tag, name, rest = found.groups()
                    outer.commands.append(name.upper())
                    self.wfile.write(outer.answer(name.upper(), rest) + tag + b" OK done\r\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, name: bytes, rest: bytes) -> bytes:
        if name == b"CAPABILITY":
            return b"* CAPABILITY IMAP4rev1 QUOTA\r\n"
        if name == b"LIST":
            return b"".join(self._listed(mailbox) for mailbox in self.quotas)
        if name == b"GETQUOTAROOT":
            mailbox = rest.strip(b'"').replace(b'\\"', b'"')
            root = b'"' + mailbox.replace(b'"', b'\\"') + b'"'
            resources = self.quotas[mailbox]
            roots = b"* QUOTAROOT " + root + (b" " + root if resources else b"") + b"\r\n"
            return roots + (b"* QUOTA " + root + b" (" + resources + b")\r\n" if resources else b"")
        return b"* BYE\r\n" if name == b"LOGOUT" else b""

    def _listed(self, mailbox: bytes) -> bytes:
        if mailbox in self.literal:
            return b'* LIST () "/" {%d}\r\n%s\r\n' % (len(mailbox), mailbox)
        return b'* LIST (\\HasNoChildren) "/" "' + mailbox.replace(b'"', b'\\"') + b'"\r\n'
