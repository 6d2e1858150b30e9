"""Put the parts of a token corpus together: a manifest that lists all shards. No token is read."""

from pathlib import Path
from typing import Any

from plm_scaling.common.errors import TokenError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.manifest import parsing
from plm_scaling.tokens.format.shards import AGAIN, FORMAT
from plm_scaling.tokens.write.series import PART_FILE, log_totals, total

_COMMON = ("format", "corpus", "context_length", "vocabulary_sha256")
_SAME = (*_COMMON, "start_token")  # this one is stated only where it is true


def merge_tokens(tokens: Path, contamination: Path, thresholds: Path, out: Path) -> None:
    """Write the manifest `out` of all parts {kind}/part-…/part.json in the folder `tokens`.

    Paths in the manifest are relative to it. Raises `TokenError` if the contamination check did
    not pass, a part is missing, or parts differ in format, corpus, context length, vocabulary or
    start token.

    Args:
        tokens: holds {kind}/part-…/part.json
        contamination: report of the check, which passed
        thresholds: of the filter (JSON)
        out: manifest to write, in `tokens`
    """
    if not contamination.is_file() or read_json(contamination).get("passed") is not True:
        raise TokenError(f"{contamination} reports no check that passed; check the split first")
    config = {
        "filter": read_json(thresholds),
        "contamination": read_json(contamination).get("criteria"),
    }
    parts = sorted(tokens.glob(f"*/part-*/{PART_FILE}"))
    if not parts:
        raise TokenError(f"{tokens} holds no part of a token corpus; {AGAIN}")
    write_manifest(parts, config, out)


def write_manifest(parts: list[Path], config: dict[str, Any], out: Path) -> None:
    """Write the manifest `out` of these part files, with `config`, what made them, in it."""
    facts = {path: read_part(path) for path in parts}
    first = facts[parts[0]]
    for path, own in facts.items():
        for what in _SAME:
            if own.get(what) != first.get(what):
                raise TokenError(
                    f"{path}: {what} is {own.get(what)!r}, in {parts[0]} it is "
                    f"{first.get(what)!r}; {AGAIN}"
                )
    for kind in sorted({own["kind"] for own in facts.values()}):
        _check_parts(kind, {path: own for path, own in facts.items() if own["kind"] == kind})
    splits: dict[str, Any] = {}
    for path, own in facts.items():
        folder = path.parent.relative_to(out.parent)
        for entry in own["entries"]:
            sources = splits.setdefault(entry["split"], {"sources": {}})["sources"]
            source = sources.setdefault(entry["source"], {"kind": own["kind"], "strata": {}})
            if source["kind"] != own["kind"]:
                raise TokenError(
                    f"{path}: source {entry['source']!r} is {own['kind']}, elsewhere it is "
                    f"{source['kind']}; give it one kind"
                )
            stratum = source["strata"].setdefault(entry["stratum"], {**total([]), "shards": []})
            stratum |= total([stratum, entry])
            for shard in entry["shards"]:
                stratum["shards"].append({**shard, "path": (folder / shard["path"]).as_posix()})
    for split, content in splits.items():
        for source in content["sources"].values():
            source |= total(source["strata"].values())
        content |= total(content["sources"].values())
        log_totals(split, content, first["context_length"])
    manifest = {
        **{what: first[what] for what in _SAME if what in first},
        "vocabulary": vocabulary.VOCABULARY,
        "vocabulary_padded_size": vocabulary.PADDED_SIZE,
        "config": config,
        "splits": splits,
    }
    write_json(out, manifest)


def read_part(path: Path) -> dict[str, Any]:
    """Read part.json; raises `TokenError` for one of another version."""
    with parsing(path, "part of a token corpus"):
        own: dict[str, Any] = read_json(path)
        if missing := {*_COMMON, "kind", "part", "parts", "entries"} - own.keys():
            raise KeyError(*sorted(missing))
    if own["format"] != FORMAT or own["vocabulary_sha256"] != vocabulary.SHA256:
        raise TokenError(f"{path} is of another version ({own['format']!r}); {AGAIN}")
    return own


def _check_parts(kind: str, facts: dict[Path, dict[str, Any]]) -> None:
    """All parts of one kind are there, once."""
    counts = {own["parts"] for own in facts.values()}
    if len(counts) > 1:
        raise TokenError(
            f"{min(facts).parents[1]} holds parts of corpora cut into {sorted(counts)} parts; "
            "remove the old ones"
        )
    missing = sorted(set(range(counts.pop())) - {own["part"] for own in facts.values()})
    if missing:
        raise TokenError(
            f"{min(facts).parents[1]}: {kind} part {', '.join(map(str, missing))} is missing; "
            "tokenise it too"
        )
