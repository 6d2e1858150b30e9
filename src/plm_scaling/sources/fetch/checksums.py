"""Length and checksum of a file: as the provider publishes them, and as it is on disk."""

import hashlib
import re
import zlib
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.fetch.download import download
from plm_scaling.sources.fetch.partial import Partial
from plm_scaling.sources.fetch.web import file_behind
from plm_scaling.sources.table import HEX_DIGITS

BLOCK_BYTES = 1 << 20


class Expected(NamedTuple):
    """What the file must be: length in bytes (None: not known) and `sha256:…`, `md5:…` or ''.

    `stated_by`: where the checksum stands.
    """

    bytes: int | None
    checksum: str
    stated_by: str = "the source table"


def published(address: str, file_url: str, root: Path) -> Expected:
    """Length and checksum of the file behind `file_url` in the provider's list at `address`,
    a metalink (as UniProt's RELEASE.metalink) or lines of `digest  name` (as of md5sum). Raises
    `SourceError` when it cannot be read or does not list the file."""
    name = PurePosixPath(urlsplit(file_url).path).name
    text = _read(address, root)
    found = _from_metalink(text, name, address) if text.lstrip().startswith("<") else None
    found = found or _from_lines(text, name)
    if found is None or not found.checksum:
        raise SourceError(
            f"{address} lists no md5 or sha256 of {name}; correct column checksum_list of the "
            "source table, or empty it to fetch without"
        )
    return found._replace(stated_by=address)


def _read(address: str, root: Path) -> str:
    path = file_behind(address, root)
    try:
        if path is not None:
            return path.read_text(errors="replace")
        with TemporaryDirectory() as folder:
            partial = Partial(Path(folder) / "list")
            download(address, partial, None, "list of checksums")
            return partial.path.read_text(errors="replace")
    except (OSError, SourceError) as error:
        raise SourceError(
            f"the list of checksums cannot be read: {error}; run again, or correct column "
            "checksum_list of the source table"
        ) from error


def _from_metalink(text: str, name: str, address: str) -> Expected | None:
    """The entry of `name`; tags without their namespace, which differs between versions 3 and 4."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SourceError(f"{address} is no metalink ({error}); correct checksum_list") from error
    for element in root.iterfind(".//{*}file"):
        if element.get("name") != name:
            continue
        stated = (element.findtext(".//{*}size") or "").strip()
        size = int(stated) if stated.isdigit() else None
        digests = {
            str(found.get("type")).replace("-", "").lower(): (found.text or "").strip().lower()
            for found in element.iterfind(".//{*}hash")
        }
        for algorithm in ("sha256", "md5"):
            if re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS[algorithm]}}}", digests.get(algorithm, "")):
                return Expected(size, f"{algorithm}:{digests[algorithm]}")
        return Expected(size, "")
    return None


def _from_lines(text: str, name: str) -> Expected | None:
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9A-Fa-f]+) [ *]?(?:\S*/)?(\S+)\s*", line)
        for algorithm, digits in HEX_DIGITS.items():
            if match and match[2] == name and len(match[1]) == digits:
                return Expected(None, f"{algorithm}:{match[1].lower()}")
    return None


def checksum_of(path: Path, like: str) -> str:
    """`sha256:…`, `md5:…` or another of a file's content, by the algorithm of `like`."""
    algorithm = like.partition(":")[0]
    with path.open("rb") as file:
        if algorithm != "crc32":
            return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
        value = 0
        while block := file.read(BLOCK_BYTES):
            value = zlib.crc32(block, value)
        return f"crc32:{value:08x}"
