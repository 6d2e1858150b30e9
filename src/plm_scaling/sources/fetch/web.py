"""What is behind an address: a file of this machine, or the answer to a request over http(s).

A token comes from the environment and goes to its own host, over https and nowhere else: not to
another host that the first one redirects to, and into no message, note or argument.
"""

import os
import re
import urllib.request
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from plm_scaling.common.errors import SourceError

TOKEN_VARIABLE = "PLM_SCALING_TOKEN_"
LINKED = ("X-Linked-ETag", "X-Linked-Size")  # of Hugging Face: SHA-256 and bytes of a large file


def file_behind(address: str, root: Path) -> Path | None:
    """The file of a `file:` address, relative to `root`; None for another address."""
    parts = urlsplit(address)
    if parts.scheme != "file":
        return None
    return root / os.path.expanduser(url2pathname(parts.path))  # noqa: PTH111 it never raises


def open_url(url: str, headers: dict[str, str], timeout: float) -> HTTPResponse:
    """The answer to a GET; redirections are followed. `timeout` is in seconds without any byte.

    What a redirection states of the file behind it (`LINKED`) stands among the answer's headers.
    Raises what `urllib.request` does, and `SourceError` for a token that no header can hold.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "plm-scaling", **headers})
    if _is_s3(url):
        request.add_unredirected_header("x-amz-checksum-mode", "ENABLED")
    redirections = _Redirections()
    opener = urllib.request.build_opener(_Tokens(), redirections)
    response: HTTPResponse = opener.open(request, timeout=timeout)
    for header, value in redirections.linked.items():
        del response.headers[header]
        response.headers[header] = value
    return response


def _is_s3(url: str) -> bool:
    """Whether Amazon S3 answers, which states checksums only if asked to, and no signed address,
    which it refuses with any header that was not signed too."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return not parts.query and host.endswith(".amazonaws.com") and "s3" in re.split("[.-]", host)


def token_variable(url: str) -> str | None:
    """The environment variable that may hold a token for an https address, one for each host."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    return TOKEN_VARIABLE + parts.hostname.replace("-", "__").replace(".", "_").upper()


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows redirections and keeps what the first that states it says of the file."""

    def __init__(self) -> None:
        self.linked: dict[str, str] = {}

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        for header in LINKED:
            if header in headers:
                self.linked.setdefault(header, headers[header])
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Tokens(urllib.request.BaseHandler):
    """Every request passes here, also those that follow a redirection."""

    def https_request(self, request: urllib.request.Request) -> urllib.request.Request:
        variable = token_variable(request.full_url)
        token = os.environ.get(variable, "").strip() if variable else ""
        if not token:
            return request
        if not re.fullmatch(r"[!-~]+", token):  # http.client's own error would show it
            raise SourceError(
                f"the token in {variable} has characters that no token has; set it again"
            )
        request.add_unredirected_header("Authorization", f"Bearer {token}")
        return request
