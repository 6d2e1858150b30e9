"""What is in a shard, a part of a corpus or a corpus, as text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from plm_scaling.common.errors import TokenError
from plm_scaling.common.progress import short_number
from plm_scaling.tokens.format import manifest, vocabulary
from plm_scaling.tokens.format.manifest import Entry, ListedShard
from plm_scaling.tokens.format.packing import segment_bounds
from plm_scaling.tokens.format.shards import AGAIN, open_shard
from plm_scaling.tokens.write.merge import read_part
from plm_scaling.tokens.write.series import PART_FILE, total

SAMPLE_ROWS = 20_000  # looked at for composition and lengths, spread over all shards
BAR = 40  # characters of the longest bar
_NAMES = {number: name for name, number in vocabulary.VOCABULARY.items()}


def inspect_tokens(path: Path, sequences: int = 3, verify: bool = False) -> str:
    """Counts, composition, lengths and the first sequences of what is at `path`.

    `path` is a manifest, a part (its folder or part.json), a corpus' folder or a shard. With
    `verify` all listed checksums are compared. Raises `TokenError` naming the file that is missing,
    damaged or none of these.
    """
    if path.suffix == ".arrow":
        rows, facts = open_shard(path)
        lines = [f"{path}: shard of {facts['split']}, {facts['source']}, {facts['stratum']}"]
        lines += [_facts(facts), f"{len(rows):,} rows of {facts['context_length']} tokens"]
        sample = rows[_spread(len(rows), SAMPLE_ROWS)]
        return "\n".join([*lines, *_describe(sample, len(rows), rows, sequences)])
    facts, listed, shards = _content(path)
    for shard in shards:
        shard.check(verify)
    lines = [f"{path}: {len(shards)} shards", _facts(facts), ""]
    if verify:
        lines[0] += ", all checksums match"
    lines += _table(listed, facts["context_length"])
    if shards:
        n_rows = sum(shard.rows for shard in shards)
        sample = np.concatenate(list(_sample(shards, n_rows)))
        first = open_shard(shards[0].path)[0]
        lines += _describe(sample, n_rows, first, sequences)
    return "\n".join(lines)


def token_facts(path: Path, verify: bool = False) -> dict[str, Any]:
    """What is counted of what is at `path`: of a shard its rows, else an entry for each split,
    source and stratum. Raises as `inspect_tokens`."""
    if path.suffix == ".arrow":
        rows, facts = open_shard(path)
        return facts | {"rows": len(rows)}
    facts, listed, shards = _content(path)
    for shard in shards:
        shard.check(verify)
    named = ("corpus", "format", "context_length", "kind", "start_token")
    entries = [
        {"split": split, "source": source, "stratum": stratum}
        | {name: entry[name] for name in ("rows", "tokens", "sequences", "padding_tokens")}
        for split, source, stratum, entry in listed
    ]
    return {name: facts[name] for name in named if name in facts} | {
        "shards": len(shards),
        "entries": entries,
    }


def _content(path: Path) -> tuple[dict[str, Any], list[Entry], list[ListedShard]]:
    """What a manifest or part says of itself, and what it lists."""
    file = path
    if path.is_dir():
        found = [path / name for name in ("manifest.json", PART_FILE) if (path / name).is_file()]
        if not found:
            raise TokenError(f"{path} holds neither manifest.json nor {PART_FILE}; {AGAIN}")
        file = found[0]
    if file.name == PART_FILE:
        facts = read_part(file)
        listed = [(e["split"], e["source"], e["stratum"], e) for e in facts["entries"]]
    else:
        facts = manifest.read_manifest(file)
        listed = list(manifest.entries(facts))
    return facts, listed, manifest.list_shards(listed, file)


def _facts(facts: dict[str, Any]) -> str:
    return (
        f"corpus {facts['corpus']!r}, {facts['format']}, context length {facts['context_length']}"
        + (f", {facts['kind']}" if "kind" in facts else "")
        + (", start tokens" if facts.get("start_token") else "")
    )


def _table(listed: list[Entry], context_length: int) -> list[str]:
    lines = ["split    source               stratum                  rows   tokens  sequences  pad"]
    everything = total(entry for *_, entry in listed)
    for split, source, stratum, entry in [*listed, ("all", "", "", everything)]:
        padding = 100 * entry["padding_tokens"] / max(1, entry["rows"] * context_length)
        lines.append(
            f"{split:8} {source:20} {stratum:18} {entry['rows']:>10,} "
            f"{short_number(entry['tokens']):>8} {entry['sequences']:>10,} {padding:.2f} %"
        )
    return lines


def _spread(n: int, wanted: int) -> np.ndarray:
    """At most `wanted` indices, evenly over n."""
    return np.unique(np.linspace(0, n - 1, min(n, wanted)).astype(np.int64))


def _sample(shards: list[ListedShard], n_rows: int) -> Iterator[np.ndarray]:
    first = 0
    chosen = _spread(n_rows, SAMPLE_ROWS)
    for shard in shards:
        low, high = np.searchsorted(chosen, [first, first + shard.rows])
        if low < high:
            yield open_shard(shard.path)[0][chosen[low:high] - first]
        first += shard.rows


def _describe(sample: np.ndarray, n_rows: int, first: np.ndarray, sequences: int) -> list[str]:
    """Composition and lengths of sampled rows, and the first sequences of the first ones."""
    which = "all rows" if len(sample) == n_rows else f"{len(sample):,} rows spread over all"
    counts = np.bincount(sample.reshape(-1), minlength=256)
    shares = {number: count / sample.size for number, count in enumerate(counts) if count}
    lines = ["", f"composition, of {which} ({100 * shares.get(0, 0):.2f} % padding):"]
    listed = [
        f"{_name(number)} {100 * share:.2f} %"
        for number, share in sorted(shares.items(), key=lambda item: -item[1])
        if number != vocabulary.PAD
    ]
    lines += ["  " + "  ".join(listed[i : i + 8]) for i in range(0, len(listed), 8)]
    lines += [
        "",
        f"lengths in tokens with eod, of {which} (a sequence cut into rows counts by row):",
    ]
    lines += _histogram(segment_bounds(sample)[1])
    lines += ["", "first sequences:"]
    few = first[: 4 * sequences]
    starts, lengths = segment_bounds(few)
    flat = few.reshape(-1)
    for start, length in list(zip(starts, lengths, strict=True))[:sequences]:
        tokens = flat[start : start + min(length, 70)]
        text = vocabulary.decode(tokens[tokens != vocabulary.SOP].tobytes())
        shown = text.replace("\n", "⏎").replace("\t", "⇥").removesuffix("?")
        lines.append(f"  {shown}{'…' if length > 70 else ''}")
    return lines


def _name(number: int) -> str:
    name = _NAMES.get(number, f"id {number} (none of the vocabulary)")
    return {"\n": "line end", "\t": "tab", " ": "space"}.get(name, name)


def _histogram(lengths: np.ndarray) -> list[str]:
    edges = 2 ** np.arange(0, int(lengths.max()).bit_length() + 1)
    counts, _ = np.histogram(lengths, edges)
    filled = np.flatnonzero(counts)
    return [
        f"  {edges[i]:>6} to {edges[i + 1] - 1:<6} {counts[i]:>10,} "
        + "█" * max(bool(counts[i]), round(BAR * counts[i] / counts.max()))
        for i in range(filled[0], filled[-1] + 1)
    ]
