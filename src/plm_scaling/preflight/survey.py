"""Read sequence files once and say what they are and what the pipeline would make of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from logging import WARNING, LogRecord
from os import sched_getaffinity
from pathlib import Path
from typing import Any

import numpy as np

from plm_scaling.common.errors import SourceError
from plm_scaling.common.progress import Progress, end_line, logger
from plm_scaling.config.data import Thresholds
from plm_scaling.filter.rules import KEPT
from plm_scaling.preflight.cost import Cost, cost
from plm_scaling.preflight.kinds import kind_of
from plm_scaling.preflight.lengths import Lengths
from plm_scaling.preflight.repeats import Repeats
from plm_scaling.preflight.rules import judged
from plm_scaling.sources.read.alphabet import FIRST_RESIDUES, Composition, suspicion
from plm_scaling.sources.read.columns import read_columns
from plm_scaling.sources.read.fasta import parse_fasta
from plm_scaling.sources.read.inputs import shown
from plm_scaling.sources.read.records import Records, Rejected
from plm_scaling.sources.read.streams import blocks, counting, open_stream, progress_of
from plm_scaling.sources.read.uniprot_xml import read_uniprot, read_uniref

NAMED_CHARACTERS = 16  # different offending ones that are counted; of a binary file there are 200

GAPS = {"-", "."}


@dataclass
class Offending:
    """A character that is no residue: how often, in how many records, and where first."""

    times: int
    records: int
    line: int | None
    record: int
    id: str


@dataclass
class FileSurvey:
    """What one file is. Lengths are in residues; `problems` stop the pipeline, `warnings` do not.

    `fixed` and `refused` count records by what was fixed and why they were refused, `verdicts`
    those that are left by the filter's rule that drops them (`kept`: none). A file is read no
    further (`whole` is false) when it turns out to be nucleotides, or where it is damaged.
    """

    path: str
    bytes: int
    format: str = ""
    compression: str = ""
    line_ends: str = ""
    whole: bool = True
    records: int = 0
    usable: int = 0
    residues: int = 0
    letters: dict[str, int] = field(default_factory=dict)
    nucleotide_share: float = 0.0
    shortest: int = 0
    median: int = 0
    longest: int = 0
    histogram: list[tuple[int, int, int]] = field(default_factory=list)
    exact_copies: int = 0
    ids_of_another_sequence: int = 0
    repeated_id: str = ""
    sequences_of_another_id: int = 0
    fixed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    characters: dict[str, Offending] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Survey:
    files: list[FileSurvey]
    thresholds: Thresholds
    cost: Cost

    @property
    def usable(self) -> bool:
        """Whether the pipeline would get through all of them."""
        return not any(one.problems for one in self.files)

    def to_json(self) -> dict[str, Any]:
        return {
            "usable": self.usable,
            "files": [asdict(one) for one in self.files],
            "thresholds": self.thresholds.model_dump(),
            "cost": asdict(self.cost),
        }


def survey(
    paths: Sequence[Path],
    thresholds: Thresholds,
    max_rejected_fraction: float,
    valid_fraction: float,
) -> Survey:
    """Look at each file: `thresholds` judge its sequences, and more refused records than
    `max_rejected_fraction` are a problem. The cost is that of all of them as one set of which
    `valid_fraction` is held out. Memory does not grow with the files."""
    files, progress = [], progress_of("check", paths)
    for path in paths:
        files.append(_survey(path, thresholds, max_rejected_fraction, progress))
        progress.add(sum(one.bytes for one in files) - progress.done)  # what was passed over
    end_line()
    sound = [one for one in files if not one.problems]
    sequences, residues = sum(one.usable for one in sound), sum(one.residues for one in sound)
    cores = len(sched_getaffinity(0))
    return Survey(files, thresholds, cost(sequences, residues, valid_fraction, cores))


def _survey(
    path: Path, thresholds: Thresholds, max_rejected_fraction: float, progress: Progress
) -> FileSurvey:
    found = FileSurvey(shown(str(path)), path.stat().st_size if path.is_file() else 0)
    try:
        with _warnings_of(found, path):
            kind = kind_of(path)
            found.format, found.compression, found.line_ends = (
                kind.name,
                kind.compression,
                kind.line_ends,
            )
            if kind.help:
                found.problems.append(f"{kind.name}, not FASTA: {kind.help}")
            else:
                with counting(progress):
                    _read(found, _records(path, kind.name), thresholds)
                _judge(found, max_rejected_fraction)
    except SourceError as error:
        found.whole = False
        found.problems.append(_without_name(str(error), path))
    return found


@contextmanager
def _warnings_of(found: FileSurvey, path: Path) -> Iterator[None]:
    """What the readers warn of belongs to the file and not into the log, once each."""

    def keep(record: LogRecord) -> bool:
        if record.levelno < WARNING:
            return True
        text = _without_name(record.getMessage(), path)
        found.warnings += [] if text in found.warnings else [text]
        return False

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _without_name(message: str, path: Path) -> str:
    return message.removeprefix(str(path)).lstrip(":, ")


def _records(path: Path, format_: str) -> Iterator[Records]:
    match format_:
        case "UniRef XML":
            yield from read_uniref(path)
        case "UniProtKB XML":
            yield from read_uniprot(path)
        case "Parquet" | "Arrow":
            yield from read_columns(path)
        case _:
            with open_stream(path) as stream:
                yield from parse_fasta(blocks(stream, path), path)


def _read(found: FileSurvey, batches: Iterator[Records], thresholds: Thresholds) -> None:
    """Fill `found` with what is counted in its records, up to the place where they end or fail."""
    letters, lengths, repeats = Composition(), Lengths(), Repeats()
    fixed: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    try:
        for batch in batches:
            own = np.fromiter(map(len, batch.sequences), np.int64, len(batch.sequences))
            text = b"".join(batch.sequences)
            letters.add(text)
            lengths.add(own)
            repeats.add(batch.ids, batch.sequences)
            verdicts += judged(thresholds, batch.sequences)
            fixed.update({what: records for what, (records, _) in batch.handled.items()})
            for rejected in batch.rejected:
                _refuse(found, rejected)
            found.records += batch.count
            found.usable += len(own)
            found.residues += len(text)
            if len(text) >= FIRST_RESIDUES and suspicion(letters):
                found.whole = False
                break
    finally:
        copies, only_ids, only_sequences = repeats.count()
        found.letters = letters.letters
        found.nucleotide_share = letters.nucleotide_share
        found.shortest, found.median = lengths.shortest, lengths.quantile(0.5)
        found.longest, found.histogram = lengths.longest, lengths.histogram()
        found.exact_copies, found.repeated_id = copies, repeats.example
        found.ids_of_another_sequence = only_ids
        found.sequences_of_another_id = only_sequences
        found.fixed, found.verdicts = dict(fixed), dict(verdicts)
    if problem := suspicion(letters):
        if letters.is_certain:
            found.verdicts = {}  # rules for proteins
            found.problems.append(problem)
        else:
            found.warnings.append(problem)


def _refuse(found: FileSurvey, rejected: Rejected) -> None:
    found.refused[rejected.reason] = found.refused.get(rejected.reason, 0) + 1
    if not rejected.character:
        return
    name = rejected.id.decode(errors="replace")
    if rejected.character in found.characters:
        one = found.characters[rejected.character]
        one.times += rejected.times
        one.records += 1
    elif len(found.characters) < NAMED_CHARACTERS:
        found.characters[rejected.character] = Offending(
            rejected.times, 1, rejected.line, rejected.record, name
        )


def _judge(found: FileSurvey, max_rejected_fraction: float) -> None:
    """Add the problems of a whole file that is one of proteins."""
    if found.problems:
        return
    refused = sum(found.refused.values())
    correct = "correct them"
    if GAPS & found.characters.keys():
        correct = "remove the gaps of the alignment"
    elif ">" in found.characters:
        correct = "put a line end between the files that were joined without"
    if not found.usable:
        found.problems.append(f"no record can be used; {correct}")
    elif refused > max_rejected_fraction * found.records:
        found.problems.append(
            f"{refused:,} of {found.records:,} records cannot be used, more than the share of "
            f"{max_rejected_fraction:g} that data.max_rejected_fraction allows; {correct}, or "
            "raise it"
        )
    elif not found.verdicts.get(KEPT):
        found.problems.append("no sequence passes the rules of the filter; loosen them")
