"""`plm-scaling watch`: a page on this machine alone that shows a study as its files have it.

There is nothing on the server but what the files say: `/` is the page, `/state.json` the state,
with the curves of the cells that are asked for. It only reads.
"""

import errno
import hashlib
import json
import sys
import time
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from plm_scaling.common.errors import PlmScalingError, WatchError
from plm_scaling.figures.parts.style import cycle
from plm_scaling.report.html.template import render
from plm_scaling.watch.curves import read_cell_curves
from plm_scaling.watch.places import Place
from plm_scaling.watch.queue import Lately
from plm_scaling.watch.reader import Reader

HOST = "127.0.0.1"
PORT = 8765
OWN_NAMES = ("127.0.0.1", "localhost")  # another Host is a site that had its name point here
TEMPLATE = Path(__file__).with_name("page.html.j2")
MOST_CURVES = 40
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'",
}


class Server(ThreadingTCPServer):
    """Serves one place until it is closed; raises `WatchError` if `port` is in use.

    Without a port it takes 8765, or a free one where that is in use.
    """

    allow_reuse_address = True  # of connections that have ended; not of another server
    daemon_threads = True

    def __init__(self, place: Place, port: int | None = None) -> None:
        self._queue = Lately()
        self._reader = Reader(place.folder, place.sweeps, self._queue.known)
        self._lock = Lock()
        try:
            super().__init__((HOST, PORT if port is None else port), _Handler)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE and port is None:
                super().__init__((HOST, 0), _Handler)
            else:
                problem = getattr(error, "strerror", None) or str(error).rstrip(".")
                raise WatchError(
                    f"--port {port}: {problem}; give another, or none for a free one"
                ) from error
        name = place.folder.absolute().name
        self.page = render(TEMPLATE, name=name, colours=cycle(), most_curves=MOST_CURVES).encode()

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def state(self, cells: list[str]) -> bytes:
        """The state as JSON, with the curves of `cells` (STUDY/CELL)."""
        with self._lock:  # readers remember files, and two reads at once only take longer
            found = self._reader.read(time.time())
            told: dict[str, Any] = found.to_json()
            told["curves"] = {
                f"{study.results.name}/{state.cell}": asdict(
                    read_cell_curves(study.results, state.cell, self._reader.remembered)
                )
                for study in found.studies
                for state in study.cells
                if f"{study.results.name}/{state.cell}" in cells[:MOST_CURVES]
            }
        return json.dumps(told, allow_nan=False).encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that is closed meanwhile is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        self._queue.close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 10  # seconds; browsers open connections on which they may ask for nothing

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if self.headers.get("Host", "").split(":")[0] not in OWN_NAMES:
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"ask for localhost\n")
        elif asked.path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        elif asked.path == "/state.json":
            self._state(parse_qs(asked.query).get("curves", [""])[0].split(","))
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"no such page\n")

    def _state(self, cells: list[str]) -> None:
        try:
            state = self.server.state(cells)
        except (PlmScalingError, OSError, ValueError) as error:  # a file changed while it was read
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n".encode())
        else:
            self._answer(HTTPStatus.OK, "application/json", state)

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        known = status == HTTPStatus.OK and self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if known else status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("ETag", tag)
        if not known:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not known:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal is for the address."""
