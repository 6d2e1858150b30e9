import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plm_scaling.errors import SourceError
from plm_scaling.sources.fetch import fetch_source
from plm_scaling.sources.table import COLUMNS, read_sources

CONTENT = b">a\nMKV\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/good sends the file, /short half of it, /page a web page with status 200."""

    def do_GET(self) -> None:
        bodies = {"/good": CONTENT, "/short": CONTENT, "/page": b"<!DOCTYPE html><p>moved</p>"}
        body = bodies.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def fetch(tmp_path: Path, **fields: str) -> Path:
    """Fetch one source whose row has these fields; the table lies in tmp_path/resources."""
    table = tmp_path / "resources" / "sources.tsv"
    table.parent.mkdir(exist_ok=True)
    row = {"name": "s", "role": "a role", **fields}
    table.write_text(
        "\t".join(COLUMNS) + "\n" + "\t".join(row.get(column, "") for column in COLUMNS) + "\n"
    )
    out = tmp_path / "raw" / "s.fasta.gz"
    fetch_source(table, "s", out)
    return out


def fetch_fails(tmp_path: Path, *words: str, **fields: str) -> None:
    with pytest.raises(SourceError) as raised:
        fetch(tmp_path, **fields)
    for word in words:
        assert word in str(raised.value)
    raw = tmp_path / "raw"
    assert not raw.exists() or not list(raw.iterdir())


def test_fetch_file_is_relative_to_the_folder_above_the_table(tmp_path: Path) -> None:
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "s.gz").write_bytes(CONTENT)
    out = fetch(tmp_path, url="file:resources/s.gz", sha256=SHA256, bytes=str(len(CONTENT)))
    assert out.read_bytes() == CONTENT


def test_fetch_http_is_verified_and_written(tmp_path: Path, server: str) -> None:
    assert fetch(tmp_path, url=f"{server}/good", sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("primary", ["/gone", "/page", "/short"])
def test_fetch_bad_primary_falls_to_mirror(tmp_path: Path, server: str, primary: str) -> None:
    out = fetch(tmp_path, url=server + primary, mirror=f"{server}/good")
    assert out.read_bytes() == CONTENT


def test_fetch_missing_file_is_named(tmp_path: Path) -> None:
    fetch_fails(tmp_path, "resources/gone.gz", "does not exist", url="file:resources/gone.gz")


def test_fetch_http_status_is_an_error(tmp_path: Path, server: str) -> None:
    fetch_fails(tmp_path, f"{server}/gone", "404", url=f"{server}/gone")


def test_fetch_web_page_is_an_error(tmp_path: Path, server: str) -> None:
    fetch_fails(tmp_path, f"{server}/page", "web page", url=f"{server}/page")


def test_fetch_truncated_download_states_bytes(tmp_path: Path, server: str) -> None:
    half, whole = str(len(CONTENT) // 2), str(len(CONTENT))
    fetch_fails(tmp_path, f"{server}/short", half, whole, url=f"{server}/short")


def test_fetch_wrong_size_is_an_error(tmp_path: Path, server: str) -> None:
    fetch_fails(tmp_path, "7000", "6999", url=f"{server}/good", bytes="6999")


def test_fetch_wrong_checksum_is_an_error(tmp_path: Path, server: str) -> None:
    fetch_fails(tmp_path, "sha256", SHA256, "0" * 64, url=f"{server}/good", sha256="0" * 64)


def test_fetch_no_server_is_an_error(tmp_path: Path) -> None:
    fetch_fails(tmp_path, "http://127.0.0.1:9/x", url="http://127.0.0.1:9/x")


def test_fetch_empty_address_says_what_to_do(tmp_path: Path) -> None:
    fetch_fails(tmp_path, "'s'", "no address", "a role")


def test_fetch_failure_keeps_an_earlier_file(tmp_path: Path, server: str) -> None:
    out = fetch(tmp_path, url=f"{server}/good")
    with pytest.raises(SourceError):
        fetch(tmp_path, url=f"{server}/gone")
    assert out.read_bytes() == CONTENT


def test_fetch_unknown_source_lists_the_known(tmp_path: Path) -> None:
    fetch(tmp_path, url=(tmp_path / "resources/sources.tsv").as_uri())
    with pytest.raises(SourceError, match="no source 'other'; it has s"):
        fetch_source(tmp_path / "resources/sources.tsv", "other", tmp_path / "x")


def test_shipped_table_demo_files_are_as_listed(tmp_path: Path) -> None:
    table = Path(__file__).parents[3] / "resources" / "sources.tsv"
    sources = read_sources(table)
    assert {"uniref50", "uniref90", "colabfold_c", "colabfold_m"} < set(sources)
    size = 0
    for name in ("uniref_demo", "metagenome_demo"):
        assert sources[name].sha256
        fetch_source(table, name, tmp_path / name)
        size += (tmp_path / name).stat().st_size
    assert size <= 4_000_000
