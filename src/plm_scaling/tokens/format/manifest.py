"""The manifest of a token corpus: what lies where, and what it must be."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import TokenError
from plm_scaling.common.files import read_json, sha256_of
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.shards import AGAIN, FORMAT


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
        """Compare the file's size, and with `verify` its checksum.

        Raises `TokenError` naming the file.
        """
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


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest; raises `TokenError` for one of another format or vocabulary."""
    if not path.is_file():
        raise TokenError(f"{path} does not exist; {AGAIN}")
    try:
        manifest: dict[str, Any] = read_json(path)
        for what, value in (("format", FORMAT), ("vocabulary_sha256", vocabulary.SHA256)):
            if manifest[what] != value:
                raise TokenError(
                    f"{path}: {what} is {manifest[what]!r}, expected {value!r}; {AGAIN}"
                )
        if missing := {"corpus", "context_length", "splits"} - manifest.keys():
            raise KeyError(*sorted(missing))
    except (KeyError, TypeError, ValueError) as error:
        raise TokenError(f"{path} is no manifest of token shards ({error!r}); {AGAIN}") from error
    return manifest


def data_sha256(manifest: dict[str, Any], sources: Collection[str], strata: Sequence[str]) -> str:
    """SHA-256 of the checksums of what a run reads: training shards of these sources and strata,
    and all held-out ones of proteins. Shards that it does not read do not change it.
    """
    read = [
        (split, source, stratum, [shard["sha256"] for shard in entry["shards"]])
        for split, content in sorted(manifest["splits"].items())
        for source, facts in sorted(content["sources"].items())
        for stratum, entry in sorted(facts["strata"].items())
        if (
            source in sources and stratum in strata
            if split == "train"
            else facts["kind"] == "protein"
        )
    ]
    return hashlib.sha256(json.dumps(read).encode()).hexdigest()


def list_shards(manifest: dict[str, Any], path: Path) -> list[ListedShard]:
    """The shards of the manifest that was read from `path`."""
    try:
        return [
            ListedShard(
                name=shard["path"],
                path=path.parent / shard["path"],
                **{what: shard[what] for what in ("rows", "tokens", "bytes", "sha256")},
            )
            for content in manifest["splits"].values()
            for source in content["sources"].values()
            for stratum in source["strata"].values()
            for shard in stratum["shards"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise TokenError(f"{path} is no manifest of token shards ({error!r}); {AGAIN}") from error
