"""A local HTTP server that serves ranges correctly, or with the faults it is asked for."""

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What an address serves, and how it fails."""

    content: bytes = b""
    etag: str | None = '"one"'
    modified: str | None = None
    cuts: list[int] = field(default_factory=list)  # bytes sent before the line is cut, per request
    statuses: list[int] = field(default_factory=list)  # answered instead, per request
    ignores_range: bool = False
    stalls_after: int | None = None  # bytes; then nothing until `released`
    content_type: str = "application/octet-stream"
    redirect: str | None = None
    announced: int | None = None  # Content-Length, if not the true one
    chunked: bool = False  # no Content-Length
    headers: dict[str, str] = field(default_factory=dict)  # others, of every answer
    status: int | None = None  # if not the true one
    wrong_start: bool = False  # a 206 that begins elsewhere
    before: Callable[["Page", int], None] | None = None  # called with the number of the request
    requests: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.pages`."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        page: Page | None = self.server.pages.get(self.path)
        self.close_connection = True
        if page is None:
            self.send_error(404)
            return
        page.requests.append(dict(self.headers))
        if page.before:
            page.before(page, len(page.requests))
        if page.statuses and (status := page.statuses.pop(0)):
            self._send_empty(status, page.headers)
            return
        if page.redirect:
            self._send_empty(302, {"Location": page.redirect, **page.headers})
            return
        body = self._answer(page)
        if body is None:
            return
        cut = page.cuts.pop(0) if page.cuts else None
        if page.stalls_after is not None:
            self.wfile.write(body[: page.stalls_after])
            self.wfile.flush()
            page.released.wait(30)
        elif page.chunked:
            pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
            for piece in pieces if cut is None else pieces[: cut // 1000]:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if cut is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(body[:cut])

    def _send_empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, page: Page) -> bytes | None:
        """Send status and headers; the body that is due."""
        total = len(page.content)
        body, status, headers = page.content, 200, {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        same = condition is None or condition in (page.etag, page.modified)
        if asked and same and not page.ignores_range:
            start = int(asked[1])
            if start >= total:
                self._send_empty(416, {"Content-Range": f"bytes */{total}"})
                return None
            start -= 5 if page.wrong_start else 0
            body, status = page.content[start:], 206
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self.send_response(page.status or status)
        if page.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            length = len(body) if page.announced is None else page.announced
            headers["Content-Length"] = str(length)
        if page.etag:
            headers["ETag"] = page.etag
        if page.modified:
            headers["Last-Modified"] = page.modified
        headers["Content-Type"] = page.content_type
        for name, value in {**headers, **page.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        return body

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


class Server(ThreadingHTTPServer):
    """`pages` by path; `url(path)` is the address."""

    daemon_threads = True
    pages: dict[str, Page]
    scheme = "http"

    def url(self, path: str) -> str:
        """The address of a page."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def page(self, path: str, content: bytes, **how: object) -> Page:
        """Serve a page."""
        self.pages[path] = Page(content, **how)  # type: ignore[arg-type]
        return self.pages[path]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up in these tests."""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A running server without pages; over https with a context."""
    httpd = Server(("127.0.0.1", 0), Handler)
    httpd.pages = {}
    if context is not None:
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        httpd.scheme = "https"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield httpd
    finally:
        for page in httpd.pages.values():
            page.released.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()
