"""What an address can fail with: for good, or for now."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException

from plm_scaling.common.errors import SourceError


class RefusedError(SourceError):
    """The address does not give the file, and asking again would not change that."""


class InterruptionError(SourceError):
    """The address may give the file when asked again, after `wait` seconds if the server says."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@contextmanager
def network(url: str, received: Callable[[], int]) -> Iterator[None]:
    """Turn what a connection raises into InterruptionError, with address and bytes received."""
    try:
        yield
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        what = str(reason) or type(error).__name__
        raise InterruptionError(f"{url}: {what} after {received()} bytes") from error
