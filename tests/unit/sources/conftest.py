"""A server that misbehaves as asked, and no waiting between attempts."""

from collections.abc import Iterator

import pytest
from faulty_server import Server, serving

from plm_scaling.sources.fetch import download


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "sleep", lambda seconds: None)


@pytest.fixture(scope="module")
def httpd() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(httpd: Server) -> Server:
    httpd.pages.clear()
    return httpd
