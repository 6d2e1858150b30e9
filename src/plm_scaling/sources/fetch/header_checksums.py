"""The checksum of a whole file that the headers of an answer state.

Standard headers (Repr-Digest and Content-Digest of RFC 9530, Digest of RFC 3230, Content-MD5) and
those of object stores and hubs. CRC-32C and CRC-64/NVME, which some state beside others, are left
out: neither the standard library nor ours computes them.
"""

import binascii
import re
from collections.abc import Iterator
from email.message import Message

# Strongest first; length in bytes.
ALGORITHMS = {"sha512": 64, "sha256": 32, "sha1": 20, "md5": 16, "crc32": 4}


def stated_checksum(headers: Message) -> tuple[str, str]:
    """`algorithm:hex` and the header that states it, of an answer with status 200; '' if none."""
    found: dict[str, tuple[str, str]] = {}
    for header, name, digest in _digests(headers):
        algorithm = {"sha": "sha1"}.get(name.lower(), name.lower().replace("-", ""))
        if len(digest) == ALGORITHMS.get(algorithm):
            found.setdefault(algorithm, (f"{algorithm}:{digest.hex()}", header))
    return next((found[algorithm] for algorithm in ALGORITHMS if algorithm in found), ("", ""))


def _digests(headers: Message) -> Iterator[tuple[str, str, bytes]]:
    """Header, algorithm as it is called there, and digest; b'' of what is none."""

    def all_of(header: str) -> str:
        return ", ".join(headers.get_all(header, []))

    # A hub's redirection states the SHA-256 of large files, and a digest of another kind of others.
    yield "X-Linked-ETag", "sha256", _from_hex(all_of("X-Linked-ETag"))
    for header in ("Repr-Digest", "Content-Digest"):
        for name, text in re.findall(r"([\w-]+)=:([^:]*):", all_of(header)):
            yield header, name, _from_base64(text)
    for name, text in re.findall(r"([\w-]+)=([^,;\s]+)", all_of("Digest")):
        yield "Digest", name, _from_base64(text)
    if all_of("X-Amz-Checksum-Type").upper() != "COMPOSITE":  # which is one of the parts' checksums
        for name in ("sha256", "sha1", "crc32"):
            header = f"X-Amz-Checksum-{name.capitalize()}"
            yield header, name, _from_base64(all_of(header))
    # Of what is stored, which is not what is sent if the store decompresses it on the way.
    stored = all_of("X-Goog-Stored-Content-Encoding").lower()
    if stored in ("", "identity", all_of("Content-Encoding").lower()):
        for text in re.findall(r"\bmd5=([^,\s]+)", all_of("X-Goog-Hash")):
            yield "X-Goog-Hash", "md5", _from_base64(text)
    yield "Content-MD5", "md5", _from_base64(all_of("Content-MD5"))
    # An ETag means what its server likes. Amazon's documentation says when theirs is an MD5: one
    # upload (no hyphen with the number of parts), not encrypted with a key of a customer or of KMS.
    encryption = all_of("X-Amz-Server-Side-Encryption")
    customer = all_of("X-Amz-Server-Side-Encryption-Customer-Algorithm")
    if all_of("Server") == "AmazonS3" and encryption in ("", "AES256") and not customer:
        yield "ETag", "md5", _from_hex(all_of("ETag"))


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return b""


def _from_hex(etag: str) -> bytes:
    """The digest in a strong ETag."""
    match = re.fullmatch(r'"?((?:[0-9A-Fa-f]{2})+)"?', etag)
    return bytes.fromhex(match[1]) if match else b""
