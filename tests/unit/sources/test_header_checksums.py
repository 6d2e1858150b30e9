"""Checksums that the headers of an answer state verify a download that has no other."""

import base64
import hashlib
import logging
import zlib
from email.message import Message
from pathlib import Path

import pytest
from faulty_server import Server
from fetching import CONTENT, OTHER, WITH_CHECKSUM, fetch, fetch_fails

from plm_scaling.common.files import read_json
from plm_scaling.sources.fetch.header_checksums import stated_checksum
from plm_scaling.sources.fetch.verified import record_of
from plm_scaling.sources.fetch.web import _is_s3

DIGESTS = {
    name: hashlib.new(name, CONTENT).digest() for name in ("md5", "sha1", "sha256", "sha512")
}
DIGESTS["crc32"] = zlib.crc32(CONTENT).to_bytes(4, "big")
MD5, SHA256 = DIGESTS["md5"].hex(), DIGESTS["sha256"].hex()
IN_64 = {name: base64.b64encode(digest).decode() for name, digest in DIGESTS.items()}
S3 = {"Server": "AmazonS3", "ETag": f'"{MD5}"'}
AES = {"X-Amz-Server-Side-Encryption": "AES256"}
KMS = {"X-Amz-Server-Side-Encryption": "aws:kms"}
OWN_KEY = {"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256"}
GOOG = {"X-Goog-Hash": f"crc32c=n03x6A==, md5={IN_64['md5']}"}
STORED = "X-Goog-Stored-Content-Encoding"


def headers_of(headers: dict[str, str]) -> Message:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    return message


@pytest.mark.parametrize(
    ("headers", "algorithm", "header"),
    [
        ({"Content-MD5": IN_64["md5"]}, "md5", "Content-MD5"),
        ({"content-md5": IN_64["md5"]}, "md5", "Content-MD5"),
        ({"Digest": f"SHA-256={IN_64['sha256']}"}, "sha256", "Digest"),
        ({"Digest": f"MD5={IN_64['md5']},sha={IN_64['sha1']},UNIXsum=1"}, "sha1", "Digest"),
        ({"Repr-Digest": f"sha-512=:{IN_64['sha512']}:"}, "sha512", "Repr-Digest"),
        (
            {"Repr-Digest": f"sha-256=:{IN_64['sha256']}:, sha-512=:{IN_64['sha512']}:"},
            "sha512",
            "Repr-Digest",
        ),
        ({"Content-Digest": f"sha-256=:{IN_64['sha256']}:"}, "sha256", "Content-Digest"),
        (
            {"Content-MD5": IN_64["md5"], "Digest": f"sha-256={IN_64['sha256']}"},
            "sha256",
            "Digest",
        ),
        (GOOG, "md5", "X-Goog-Hash"),
        ({**GOOG, STORED: "identity"}, "md5", "X-Goog-Hash"),
        ({**GOOG, STORED: "gzip", "Content-Encoding": "gzip"}, "md5", "X-Goog-Hash"),
        ({"x-amz-checksum-sha256": IN_64["sha256"]}, "sha256", "X-Amz-Checksum-Sha256"),
        (
            {"x-amz-checksum-crc32": IN_64["crc32"], "x-amz-checksum-type": "FULL_OBJECT"},
            "crc32",
            "X-Amz-Checksum-Crc32",
        ),
        ({"X-Linked-ETag": f'"{SHA256}"'}, "sha256", "X-Linked-ETag"),
        (S3, "md5", "ETag"),
        ({**S3, **AES}, "md5", "ETag"),
    ],
)
def test_checksum_of_the_headers(headers: dict[str, str], algorithm: str, header: str) -> None:
    expected = (f"{algorithm}:{DIGESTS[algorithm].hex()}", header)
    assert stated_checksum(headers_of(headers)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-MD5": MD5},  # not in base 64
        {"Content-MD5": "d41d8cd9"},
        {"Content-MD5": "nönsense"},
        {"Digest": "SHA-256=", "Repr-Digest": "sha-256=::, md5"},
        {"Digest": f"id-sha-256={IN_64['sha256']}"},  # without the encoding
        {"X-Goog-Hash": "crc32c=n03x6A=="},
        {**GOOG, STORED: "gzip"},  # decompressed on the way
        {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA=", "x-amz-checksum-crc32c": "n03x6A=="},
        {"x-amz-checksum-sha256": f"{IN_64['sha256']}-3"},  # of the parts
        {"x-amz-checksum-sha256": IN_64["sha256"], "x-amz-checksum-type": "COMPOSITE"},
        {"X-Linked-ETag": '"dd1d7ea1d5bf1d7ea1d5bf1d7ea1d5bf1d7ea1d5"'},  # of git, 40 digits
        {"ETag": f'"{MD5}"', "Server": "nginx"},
        {**S3, "ETag": f'"{MD5}-12"'},
        {**S3, "ETag": f'W/"{MD5}"'},
        {**S3, **KMS},
        {**S3, **OWN_KEY},
    ],
)
def test_no_checksum_in_the_headers(headers: dict[str, str]) -> None:
    assert stated_checksum(headers_of(headers)) == ("", "")


@pytest.mark.parametrize("algorithm", ["sha512", "sha1", "crc32"])
def test_download_is_verified_by_a_header(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture, algorithm: str
) -> None:
    name = f"x-amz-checksum-{algorithm}" if algorithm == "crc32" else "Digest"
    value = IN_64[algorithm]
    if name == "Digest":
        value = f"{ {'sha512': 'sha-512', 'sha1': 'SHA'}[algorithm] }={value}"
    server.page("/good", CONTENT, headers={name: value})
    with caplog.at_level(logging.INFO, "plm_scaling"):
        raw = fetch(tmp_path, server.url("/good"))
    assert caplog.messages[-1].endswith(f"verified ({algorithm} from the header {name.title()})")
    record = read_json(record_of(raw))
    assert record["verified_by"] == algorithm
    assert record["found"] == f"{algorithm}:{DIGESTS[algorithm].hex()}"


def test_wrong_header_leads_to_the_mirror(tmp_path: Path, server: Server) -> None:
    headers = {"Content-MD5": IN_64["md5"]}
    server.page("/damaged", OTHER, headers=headers)
    server.page("/mirror", CONTENT, headers=headers)
    urls = {"url": server.url("/damaged"), "mirror": server.url("/mirror")}
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT
    (tmp_path / "raw" / "s.gz").unlink()
    fetch_fails(tmp_path, f"expected md5:{MD5} according to the header", url=server.url("/damaged"))


def test_header_is_remembered_when_a_later_answer_sends_the_rest(
    tmp_path: Path, server: Server
) -> None:
    def of_the_range(page, number):
        if number > 1:
            page.headers = {"Content-MD5": base64.b64encode(bytes(16)).decode()}

    headers = {"Content-MD5": IN_64["md5"]}
    page = server.page("/cut", CONTENT, cuts=[50_000], headers=headers, before=of_the_range)
    raw = fetch(tmp_path, server.url("/cut"))
    assert page.requests[1]["Range"] == "bytes=50000-"
    assert read_json(record_of(raw))["found"] == f"md5:{MD5}"


def test_table_comes_before_list_and_list_before_header(tmp_path: Path, server: Server) -> None:
    server.page("/good", CONTENT, headers={"Content-MD5": base64.b64encode(bytes(16)).decode()})
    server.page("/wrong.md5", b"0" * 32 + b"  good")
    server.page("/right.md5", f"{MD5}  good".encode())
    urls = {"url": server.url("/good")}
    raw = fetch(tmp_path, **urls, checksum_list=server.url("/wrong.md5"), **WITH_CHECKSUM)
    assert read_json(record_of(raw))["stated_by"] == "the source table"
    raw = fetch(tmp_path, **urls, checksum_list=server.url("/right.md5"))
    assert read_json(record_of(raw))["stated_by"] == server.url("/right.md5")
    raw.unlink()
    urls["checksum_list"] = server.url("/wrong.md5")
    fetch_fails(tmp_path, f"according to {urls['checksum_list']}", **urls)


@pytest.mark.parametrize("right", [True, False])
def test_redirection_states_checksum_and_length(
    tmp_path: Path, server: Server, right: bool
) -> None:
    """As Hugging Face: the store behind it says neither."""
    linked = {
        "X-Linked-ETag": f'"{SHA256}"',
        "X-Linked-Size": str(len(CONTENT)),
        "Content-MD5": base64.b64encode(hashlib.md5(b"").digest()).decode(),  # of itself
    }
    server.page("/resolve", b"", redirect=server.url("/store"), headers=linked)
    content = CONTENT if right else CONTENT[:-1] + b"?"
    server.page("/store", content, chunked=True, cuts=[100_000])
    if right:
        raw = fetch(tmp_path, server.url("/resolve"))
        record = read_json(record_of(raw))
        assert (record["verified_by"], record["found"]) == ("sha256", f"sha256:{SHA256}")
    else:
        fetch_fails(tmp_path, f"sha256:{SHA256}", "X-Linked-ETag", url=server.url("/resolve"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://bucket.s3.amazonaws.com/x", True),
        ("https://bucket.s3.eu-west-1.amazonaws.com/x", True),
        ("https://s3-us-west-2.amazonaws.com/bucket/x", True),
        ("https://bucket.s3.amazonaws.com/x?X-Amz-Signature=1", False),
        ("https://ec2.amazonaws.com/x", False),
        ("https://s3.example.org/x", False),
    ],
)
def test_only_s3_is_asked_for_its_checksums(url: str, expected: bool) -> None:
    assert _is_s3(url) == expected
