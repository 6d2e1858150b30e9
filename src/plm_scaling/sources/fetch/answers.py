"""What an answer says of the file that it brings, and whether it can be that file."""

import re
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from pathlib import PurePosixPath

from plm_scaling.sources.addresses import COMPRESSIONS
from plm_scaling.sources.fetch.faults import RefusedError
from plm_scaling.sources.fetch.first_bytes import wrong_beginning
from plm_scaling.sources.fetch.header_checksums import stated_checksum
from plm_scaling.sources.fetch.partial import Origin, Partial


def described(url: str, response: HTTPResponse, partial: Partial) -> tuple[Origin, int]:
    """What the headers say of the file, and its first byte here.

    Raises `RefusedError` for a web page, an encoding that was not asked for, and a range that
    cannot be understood.
    """
    headers = response.headers
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise refusal(url, response.status, "a web page", partial.size)
    coding = headers.get("Content-Encoding", "identity").lower()
    of_the_name = COMPRESSIONS.get(PurePosixPath(partial.out.name).suffix)
    if coding not in ("", "identity") and coding.removeprefix("x-") != of_the_name:
        what = f"the encoding {coding!r} of the file, which was not asked for,"
        raise refusal(url, response.status, what, partial.size)
    start, length = 0, headers.get("Content-Length") or headers.get("X-Linked-Size") or ""
    checksum, header = stated_checksum(headers)
    if response.status == 206:
        checksum = header = ""  # some are of the range, some of the file
        stated = headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", stated)
        if match is None:
            raise RefusedError(
                f"{url} answered with status 206 but Content-Range {stated!r} ({partial.size} "
                "bytes received)"
            )
        start, length = int(match[1]), match[2]
    known = int(length) if length.isdecimal() else None
    etag, modified = headers.get("ETag"), headers.get("Last-Modified")
    return Origin(url, etag, modified, known, checksum, header), start


def check_beginning(url: str, status: int, partial: Partial) -> None:
    """Raise `RefusedError`, and drop what was received, if it does not begin as the file must."""
    instead = wrong_beginning(partial.path, partial.out.name)
    if instead is not None:
        received = partial.size
        partial.discard()
        raise refusal(url, status, instead, received)


def refusal(url: str, status: int, what: str, received: int) -> RefusedError:
    """The error for an answer that brings something else."""
    return RefusedError(
        f"{url} answered with status {status} and {what} instead of the file "
        f"({received} bytes received)"
    )


def asked_wait(headers: Message) -> float | None:
    """Seconds that Retry-After asks to wait, given as such or as a date; None if it does not."""
    asked = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", asked):
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max((until - now).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):  # no date, or no time zone in one of two
        return None
