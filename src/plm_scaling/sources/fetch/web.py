"""What is behind an address: a file of this machine, or the answer to a request over http(s).

A token comes from the environment and goes to its own host, over https and nowhere else: not to
another host that the first one redirects to, and into no message, note or argument.
"""

import os
import re
import urllib.request
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from plm_scaling.common.errors import SourceError

TOKEN_VARIABLE = "PLM_SCALING_TOKEN_"


def file_behind(address: str, root: Path) -> Path | None:
    """The file of a `file:` address, relative to `root`; None for another address."""
    parts = urlsplit(address)
    if parts.scheme != "file":
        return None
    return root / os.path.expanduser(url2pathname(parts.path))


def open_url(url: str, headers: dict[str, str], timeout: float) -> HTTPResponse:
    """The answer to a GET; redirections are followed. `timeout` is in seconds without any byte.

    Raises what `urllib.request` does, and `SourceError` for a token that no header can hold.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "plm-scaling", **headers})
    opener = urllib.request.build_opener(_Tokens())
    response: HTTPResponse = opener.open(request, timeout=timeout)
    return response


def token_variable(url: str) -> str | None:
    """The environment variable that may hold a token for an https address, one for each host."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    return TOKEN_VARIABLE + parts.hostname.replace("-", "__").replace(".", "_").upper()


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
