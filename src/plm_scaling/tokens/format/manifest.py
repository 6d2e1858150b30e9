"""The manifest of a token corpus: what lies where, and what it must be."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import TokenError
from plm_scaling.common.files import read_json, sha256_of
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.shards import AGAIN, FORMAT

Entry = tuple[str, str, str, dict[str, Any]]  # split, source, stratum, and what is listed of them


@dataclass(frozen=True)
class ListedShard:
    """A shard as the manifest lists it; `name` is its path relative to the manifest."""

    name: str
    path: Path
    rows: int
    tokens: int
    bytes: int
    sha256: str

    def check(self, verify: bool) -> None:
        """Compare the file's size, and with `verify` its checksum; raises `TokenError`."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError as error:
            raise TokenError(f"{self.path} is missing; {AGAIN}") from error
        if size != self.bytes:
            raise TokenError(
                f"{self.path} has {size} bytes, the manifest says {self.bytes}; {AGAIN}"
            )
        if verify and sha256_of(self.path) != self.sha256:
            raise TokenError(
                f"{self.path} is damaged: its sha256 is not that of the manifest; {AGAIN}"
            )


@contextmanager
def parsing(path: Path, what: str = "manifest of token shards") -> Iterator[None]:
    """Raise `TokenError` naming `path` for a file that is missing or not what it should be."""
    try:
        yield
    except FileNotFoundError as error:
        raise TokenError(f"{path} does not exist; {AGAIN}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TokenError(f"{path} is no {what} ({error!r}); {AGAIN}") from error


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest; raises `TokenError` for one of another format or vocabulary."""
    with parsing(path):
        manifest: dict[str, Any] = read_json(path)
        for what, value in (("format", FORMAT), ("vocabulary_sha256", vocabulary.SHA256)):
            if manifest[what] != value:
                raise TokenError(
                    f"{path}: {what} is {manifest[what]!r}, expected {value!r}; {AGAIN}"
                )
        if missing := {"corpus", "context_length", "splits"} - manifest.keys():
            raise KeyError(*sorted(missing))
    return manifest


def entries(manifest: dict[str, Any]) -> Iterator[Entry]:
    """What a manifest lists, split by split, source by source."""
    for split, content in manifest["splits"].items():
        for source, own in content["sources"].items():
            for stratum, entry in own["strata"].items():
                yield split, source, stratum, entry


def data_sha256(manifest: dict[str, Any], sources: Collection[str], strata: Sequence[str]) -> str:
    """SHA-256 of the checksums of what a run reads: training shards of these sources and strata,
    and all held-out ones of proteins."""
    read = [
        (split, source, stratum, [shard["sha256"] for shard in entry["shards"]])
        for split, source, stratum, entry in sorted(entries(manifest), key=lambda entry: entry[:3])
        if (
            source in sources and stratum in strata
            if split == "train"
            else manifest["splits"][split]["sources"][source]["kind"] == "protein"
        )
    ]
    return hashlib.sha256(json.dumps(read).encode()).hexdigest()


def list_shards(listed: Iterable[Entry], path: Path) -> list[ListedShard]:
    """The shards of these entries of the manifest or part `path`."""
    facts = ("rows", "tokens", "bytes", "sha256")
    with parsing(path):
        return [
            ListedShard(
                shard["path"], path.parent / shard["path"], *(shard[fact] for fact in facts)
            )
            for *_, entry in listed
            for shard in entry["shards"]
        ]
