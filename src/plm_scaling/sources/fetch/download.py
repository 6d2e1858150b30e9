"""Download one address over http(s), resuming after interruptions.

What was received is kept in a `Partial`. A further attempt asks for the rest (Range) on condition
that the file is still the same (If-Range). A server that ignores Range, or whose file has changed,
sends the whole file, and the download restarts from its first byte.
"""

import time
import urllib.error
from collections.abc import Iterator
from http.client import HTTPResponse
from time import sleep

from plm_scaling.common.errors import SourceError
from plm_scaling.common.progress import Progress, logger, short_bytes
from plm_scaling.sources.fetch.answers import asked_wait, check_beginning, described
from plm_scaling.sources.fetch.faults import InterruptionError, RefusedError, network
from plm_scaling.sources.fetch.first_bytes import FIRST_BYTES
from plm_scaling.sources.fetch.partial import Partial
from plm_scaling.sources.fetch.web import open_url, token_variable

BLOCK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0  # without any byte
SLOW_SECONDS, SLOW_BYTES = 300.0, 100_000  # fewer bytes than this in this time is a stall
MAX_ATTEMPTS = 8  # that together bring less than PROGRESS_BYTES
PROGRESS_BYTES = 16 << 20
MAX_WAIT_SECONDS = 60.0
ASKED_SECONDS = 3600.0  # of waiting as Retry-After asks, which costs no attempt
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


def download(
    url: str, partial: Partial, length: int | None, label: str, may_mix: bool = False
) -> bool:
    """Bring `partial` to the whole file behind `url`, of `length` bytes if that is known.

    True if it was pieced together from several answers. `may_mix`: bytes that the server cannot
    vouch for (from another address, or without a validator) may be resumed from, because a
    checksum will tell. Raises `SourceError` naming address, status and bytes received when the
    address refuses, `MAX_ATTEMPTS` attempts together bring little, or the server asks for more than
    `ASKED_SECONDS` of waiting.
    """
    attempts = failures = 0
    asked = 0.0
    reached = partial.size
    while True:
        try:
            return _attempt(url, partial, length, label, may_mix)
        except InterruptionError as error:
            # Only bytes beyond all before are progress: some servers begin anew each time.
            if partial.size - reached >= PROGRESS_BYTES:
                reached = partial.size
                attempts, failures, asked = 0, 0, 0.0
            else:
                failures += 1
                attempts += error.wait is None
            wait = min(2.0**failures, MAX_WAIT_SECONDS)
            if error.wait is not None:
                wait = max(wait, error.wait)
                asked += wait
            if asked > ASKED_SECONDS:
                raise SourceError(
                    f"{error} and asks to wait {wait:.0f} s; in all at most {ASKED_SECONDS:.0f} s "
                    "are waited so"
                ) from error
            if attempts >= MAX_ATTEMPTS:
                raise SourceError(f"{error}, in the last of {attempts} attempts") from error
            logger.info("[%s] %s; trying again in %.0f s", label, error, wait)
            sleep(wait)


def _attempt(url: str, partial: Partial, length: int | None, label: str, may_mix: bool) -> bool:
    """One request; True if it resumed after bytes that were there."""
    origin = partial.origin()
    offset = 0
    headers = {"Accept-Encoding": "identity"}
    if origin is not None and (may_mix or (origin.url == url and origin.validator)):
        offset = partial.size
        if offset == origin.length:
            return True
        headers["Range"] = f"bytes={offset}-"
        if origin.url == url and origin.validator:
            headers["If-Range"] = origin.validator
    unknown_length = origin is not None and origin.length is None
    answer = _open(url, headers, partial, offset, may_be_all=unknown_length)
    if answer is None:
        return True
    with answer as response:
        found, start = described(url, response, partial)
        resumed = response.status == 206
        if resumed and not (
            origin is not None
            and start == offset
            and origin.length in (None, found.length)
            and (origin.url != url or origin.etag in (None, found.etag))
        ):
            partial.discard()
            raise InterruptionError(f"{url} has changed since {offset} bytes were received")
        if length is not None and found.length not in (None, length):
            raise RefusedError(
                f"{url} answered with status {response.status} and announces {found.length} "
                f"bytes, expected {length} (0 bytes received)"
            )
        if resumed:
            logger.info("[%s] resuming after %s", label, short_bytes(offset))
        else:
            partial.restart(found)
        partial.check_space(found.length)
        partial.append(_body(url, response, partial, found.length or length, label))
        return resumed


def _open(
    url: str, headers: dict[str, str], partial: Partial, offset: int, may_be_all: bool
) -> HTTPResponse | None:
    """The answer, status 200 or 206; None if nothing is left to send. Other statuses raise."""
    with network(url, lambda: partial.size):
        try:
            response = open_url(url, headers, TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            reason = " ".join(str(error.reason).split())
            what = f"{url} answered with status {error.code} {reason}"
            if error.code == 416:
                if may_be_all and error.headers.get("Content-Range") == f"bytes */{offset}":
                    return None
                partial.discard()  # what we have is no beginning of what is there now
                raise InterruptionError(f"{what} to a request for bytes after {offset}") from error
            if error.code in (401, 403) and (variable := token_variable(url)):
                what += f"; if it wants a token, set {variable}"
            what += f" ({partial.size} bytes received)"
            if error.code in TRY_AGAIN:
                raise InterruptionError(what, asked_wait(error.headers)) from error
            raise RefusedError(what) from error
        except ValueError as error:
            raise RefusedError(f"{url} redirects to what is no address: {error}") from error
    if response.status not in (200, 206) or (response.status == 206 and not offset):
        response.close()
        raise RefusedError(f"{url} answered with status {response.status} (0 bytes received)")
    return response


def _body(
    url: str, response: HTTPResponse, partial: Partial, length: int | None, label: str
) -> Iterator[bytes]:
    """The answer's content; raises InterruptionError when it ends early or stalls."""
    received = partial.size
    begins_right = False
    progress = Progress(label, length or 0, "B", done=received)
    window_start, window_bytes = time.monotonic(), 0
    with network(url, lambda: received):
        # read1 gives what has arrived, so that a trickle is seen; read would wait for all of it.
        while received != length and (block := response.read1(BLOCK_BYTES)):
            yield block
            received += len(block)
            if not begins_right and received >= FIRST_BYTES:
                check_beginning(url, response.status, partial)
                begins_right = True
            progress.add(len(block))
            window_bytes += len(block)
            now = time.monotonic()
            if now - window_start >= SLOW_SECONDS:
                if window_bytes < SLOW_BYTES:
                    raise TimeoutError(f"only {window_bytes} bytes in {SLOW_SECONDS:.0f} s")
                window_start, window_bytes = now, 0
    if length is not None and received < length:
        raise InterruptionError(
            f"{url} (status {response.status}) ended after {received} of {length} bytes"
        )
    if length is not None and received > length:
        partial.discard()
        raise RefusedError(
            f"{url} (status {response.status}) gave {received} bytes, expected {length}"
        )
    if not begins_right:
        check_beginning(url, response.status, partial)
