"""Where a source is: its address or path, and what a file's name promises."""

import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.fetch.web import file_behind

SCHEMES = ("http", "https", "file")
# Endings of file names that promise a format; one of a compression may follow. These formats are
# also read from several files as one source.
FASTA_SUFFIXES = (".fasta", ".fa", ".faa", ".fas", ".fsa", ".pep")
SUFFIXES = {
    "fasta": FASTA_SUFFIXES,
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
}
COMPRESSIONS = {".gz": "gzip", ".bgz": "gzip", ".tgz": "gzip", ".zst": "zstd", ".xz": "xz"}


def split_location(url: str, path: str, folder: Path) -> tuple[str, str]:
    """The url, and the path of what lies on this machine, whichever of the two columns names it:
    also a `file:` url, and a url that is no address but a path. Paths are relative to `folder`."""
    if url and not re.search("[:@]", url.partition("/")[0]):
        url, path = "", url
    if path:
        return url, str(folder / os.path.expanduser(path))  # noqa: PTH111
    behind = file_behind(url, folder) if url.startswith("file:") else None
    return url, "" if behind is None else str(behind)


def promised_format(name: str, default: str = "fasta") -> str:
    """The format that the suffix of a file's name promises, `default` if it promises none."""
    lower = name.lower()
    plain = lower.removesuffix(next((end for end in COMPRESSIONS if lower.endswith(end)), ""))
    return next((one for one, endings in SUFFIXES.items() if plain.endswith(endings)), default)


def files_in(folder: Path, *formats: str) -> list[Path]:
    """The files of a folder, sorted, whose names promise one of `formats`; all, if a format has no
    suffix of its own. Hidden files are not meant."""
    any_name = not SUFFIXES.keys() >= {*formats}
    return sorted(
        one
        for one in folder.iterdir()
        if one.name[0] != "."
        and (any_name or promised_format(one.name, "") in formats)
        and one.is_file()
    )


def last_part(url: str) -> str:
    """The file's name in an address."""
    return PurePosixPath(urlsplit(url).path).name


def check_address(address: str, where: str) -> None:
    """Raise SourceError for what is no address, or holds a password, which is then not shown."""
    if not address or address.startswith("file:"):
        return
    authority = re.split(r"[/?#]", address.partition("//")[2] or address)[0]
    if "@" in authority:
        raise SourceError(
            f"{where}: the address holds a user or password, which logs and reports would show; "
            "take it out, and give a token in the environment instead (docs/sources.md)"
        )
    if not re.fullmatch(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", authority):
        raise SourceError(f"{where}: the address has no name of a host after //; correct it")
    if urlsplit(address).scheme not in SCHEMES:
        schemes = ", ".join(f"{scheme}:" for scheme in SCHEMES)
        raise SourceError(f"{where}: {address!r}; must begin with one of {schemes}")
    if not re.fullmatch(r"[!-~]+", address):
        raise SourceError(f"{where}: {address!r}; write blanks and the like as %20")
