"""A host's token comes from the environment, reaches that host over https, and nothing else."""

import logging
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import Server, serving
from fetching import CONTENT, WITH_CHECKSUM, fetch
from source_tables import write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.fetch.web import token_variable

TOKEN = "hf_s3cret-T0ken"
HERE, LOCALHOST = "PLM_SCALING_TOKEN_127_0_0_1", "PLM_SCALING_TOKEN_LOCALHOST"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of both names of this machine, in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return both


@pytest.fixture
def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server over https that this process trusts, and its host's token in the environment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv(HERE, TOKEN)
    with serving(context) as server:
        yield server


def sent(page) -> list[str | None]:
    """The Authorization header of each request to the page."""
    return [request.get("Authorization") for request in page.requests]


def test_token_is_sent_with_every_attempt(tmp_path: Path, secure: Server) -> None:
    page = secure.page("/private", CONTENT, cuts=[50_000])
    assert fetch(tmp_path, secure.url("/private")).read_bytes() == CONTENT
    assert sent(page) == [f"Bearer {TOKEN}"] * 2
    assert page.requests[1]["Range"] == "bytes=50000-"


def test_token_is_sent_for_the_list_of_checksums(tmp_path: Path, secure: Server) -> None:
    secure.page("/private.gz", CONTENT)
    digest = WITH_CHECKSUM["checksum"].partition(":")[2]
    page = secure.page("/SHA256SUMS", f"{digest}  private.gz\n".encode())
    fetch(tmp_path, secure.url("/private.gz"), checksum_list=secure.url("/SHA256SUMS"))
    assert sent(page) == [f"Bearer {TOKEN}"]


def test_token_stays_with_its_host_when_redirected(
    tmp_path: Path, secure: Server, server: Server
) -> None:
    """Kept on the way to another page of the host; not for another name, not without https."""
    other = secure.url("/there").replace("127.0.0.1", "localhost")
    for target, expected in (
        (secure.url("/there"), f"Bearer {TOKEN}"), (other, None), (server.url("/there"), None),
    ):  # fmt: skip
        secure.page("/here", b"", redirect=target)
        pages = [one.page("/there", CONTENT) for one in (secure, server)]
        fetch(tmp_path, secure.url("/here")).unlink()
        assert [output for page in pages for output in sent(page)] == [expected]


def test_token_after_a_redirect_is_that_of_the_new_host(
    tmp_path: Path, secure: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LOCALHOST, "another")
    secure.page("/here", b"", redirect=secure.url("/there").replace("127.0.0.1", "localhost"))
    page = secure.page("/there", CONTENT)
    fetch(tmp_path, secure.url("/here"))
    assert sent(page) == ["Bearer another"]


def test_token_is_not_sent_without_https(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HERE, TOKEN)
    page = server.page("/open", CONTENT)
    fetch(tmp_path, server.url("/open"))
    assert sent(page) == [None]


@pytest.mark.parametrize("status", [401, 403])
def test_refusal_names_the_variable_of_the_token(
    tmp_path: Path, secure: Server, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.delenv(HERE)
    secure.page("/private", CONTENT, statuses=[status])
    with pytest.raises(SourceError, match=rf"status {status} .*; if it wants a token, set {HERE}"):
        fetch(tmp_path, secure.url("/private"))


@pytest.mark.parametrize("trouble", ["refused", "cut", "malformed"])
def test_token_is_in_no_message_note_log_or_argument(
    root: Path, tmp_path: Path, secure: Server, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """The program that Snakemake runs, which fails in three ways; a line break is no token's."""
    token = TOKEN + "\nX-Header: 1" * (trouble == "malformed")
    monkeypatch.setenv(HERE, token)
    seen = []

    def look(page, number):
        seen.extend(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline"))

    statuses = [403] if trouble == "refused" else [0, 404]
    page = secure.page("/private", CONTENT, cuts=[50_000], statuses=statuses, before=look)
    row = {"name": "s", "file": "s.gz", "url": secure.url("/private")}
    table = write_table(tmp_path / "resources" / "sources.tsv", row)
    command = [sys.executable, root / "scripts/fetch_source.py", "--table", table]
    command += ["--file", "s.gz", "--out", tmp_path / "raw/s.gz", "--log", tmp_path / "log"]
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 1
    assert sent(page) == {"refused": [f"Bearer {TOKEN}"], "cut": [f"Bearer {TOKEN}"] * 2}.get(
        trouble, []
    )
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    everything = b"".join([*written, *seen, done.stdout.encode(), done.stderr.encode()])
    assert TOKEN.encode() not in everything
    if trouble == "malformed":
        assert f"the token in {HERE} has characters that no token has" in done.stderr
    if trouble == "cut":
        assert (tmp_path / "raw/.s.gz.part.json").exists()


def test_token_variables_of_different_hosts_differ() -> None:
    hosts = ["data.example.org", "data-example.org", "data.example-org", "dataexample.org"]
    variables = [token_variable(f"https://{host}:8443/x") for host in hosts]
    assert len(set(variables)) == len(hosts)
    assert all(re.fullmatch(r"PLM_SCALING_TOKEN_[A-Z0-9_]+", str(one)) for one in variables)
    assert token_variable("https://Data-1.example.org/x") == "PLM_SCALING_TOKEN_DATA__1_EXAMPLE_ORG"
    assert token_variable("http://data.example.org/x") is None


def test_password_in_an_address_is_refused_without_being_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for address in ("https://me:pass-w0rd@h.org/x", "ftp://pass-w0rd@h.org/x", "me:pass-w0rd@h/x"):
        for column in ("url", "mirror", "checksum_list"):
            row = {"url": "https://h.org/x", column: address}
            with caplog.at_level(logging.DEBUG), pytest.raises(SourceError) as raised:
                fetch(tmp_path, **row)
            assert f"line 2, column {column}: the address holds a user or password" in str(
                raised.value
            )
            assert "pass-w0rd" not in str(raised.value) + caplog.text
