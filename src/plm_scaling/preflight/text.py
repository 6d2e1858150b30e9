"""A survey for the terminal, within 80 columns."""

import textwrap
from collections.abc import Iterator

from plm_scaling.common.progress import many, short_bytes, short_number
from plm_scaling.config.data import Thresholds
from plm_scaling.filter.rules import KEPT, REASONS
from plm_scaling.preflight.cost import Cost
from plm_scaling.preflight.kinds import FORMATS
from plm_scaling.preflight.survey import FileSurvey, Survey

WIDTH = 80
BAR = 30
_LABEL = 11
MANY_LETTERS = 8
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def survey_text(survey: Survey) -> str:
    """Each file, the cost of all, and one line that says whether they can be used."""
    lines = []
    for found in survey.files:
        lines += [found.path, *_file(found, survey.thresholds), ""]
    sound = [one for one in survey.files if not one.problems]
    if sound:
        lines += [*_cost(survey.cost, len(sound)), ""]
    return "\n".join([*lines, _verdict(survey)])


def _file(found: FileSurvey, limits: Thresholds) -> Iterator[str]:
    if found.format:
        ends = found.line_ends and f"{found.line_ends} line ends"
        what = (_format(found.format), found.compression, ends, short_bytes(found.bytes))
        yield from _row("what", ", ".join(filter(None, what)))
    if found.records:
        part = "" if found.whole else "; it was not read further"
        refused = sum(found.refused.values())
        usable = f"{found.usable:,} of them usable" if refused else "all usable"
        yield from _row(
            "records", f"{found.records:,}, {usable}; {found.residues:,} residues{part}"
        )
    if found.usable:
        yield from _row("alphabet", _alphabet(found))
        yield from _row(
            "lengths",
            f"median {found.median:,}, from {found.shortest:,} to {found.longest:,} residues",
        )
        yield from _histogram(found.histogram)
        yield from _row("repeats", _repeats(found))
    if found.fixed:
        yield from _row("noted", ", ".join(f"{_plain(w)} in {n:,}" for w, n in found.fixed.items()))
    if found.refused:
        yield from _row(
            "refused", ", ".join(f"{n:,} {_plain(w)}" for w, n in found.refused.items())
        )
    for character, one in found.characters.items():
        place = "" if one.line is None else f", which begins in line {one.line}"
        first = f"first in record {one.record} ({one.id}){place}"
        yield from _row(
            "",
            f"'{character}' {many(one.times, 'time')} in {many(one.records, 'record')}, {first}",
        )
    if found.verdicts and found.whole:
        yield from _rules(found, limits)
    for title, texts in (("warning", found.warnings), ("PROBLEM", found.problems)):
        for text in texts:
            yield from _row(title, text)


def _format(name: str) -> str:
    """A format, with what a source of it states."""
    return f"{name} (format: {FORMATS[name]})" if name in FORMATS else name


def _row(label: str, text: str) -> list[str]:
    indent = " " * (2 + _LABEL)
    first = f"  {label:<{_LABEL}}"
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
    )


def _alphabet(found: FileSurvey) -> str:
    """Amino acids are counted and other letters named; of so few letters as bases are, all."""
    few = len(found.letters) < MANY_LETTERS
    usual = sum(c in AMINO_ACIDS for c in found.letters)
    named = [
        f"{c} {_percent(n, found.residues)}"
        for c, n in found.letters.items()
        if few or c not in AMINO_ACIDS
    ]
    return ", ".join([f"{usual} of the 20 amino acids"] * (not few) + named)


def _histogram(bins: list[tuple[int, int, int]]) -> Iterator[str]:
    most = max(n for *_, n in bins)
    for first, below, n in bins:
        bar = "█" * max(round(BAR * n / most), n > 0)
        yield f"  {'':<{_LABEL}}{first:>7,} to {below - 1:>7,}  {n:>13,}  {bar}".rstrip()


def _repeats(found: FileSurvey) -> str:
    texts = []
    if n := found.exact_copies:
        texts.append(f"{many(n, 'record')} exactly as one before")
    if n := found.ids_of_another_sequence:
        texts.append(f"{many(n, 'record')} with the id of another sequence")
    if n := found.sequences_of_another_id:
        share = _percent(n, found.usable)
        texts.append(f"{many(n, 'sequence')} ({share}) under another id: pooled with it")
    example = f" (the first repeated id: {found.repeated_id})" if found.repeated_id else ""
    return (", ".join(texts) or "none") + example


def _rules(found: FileSurvey, limits: Thresholds) -> Iterator[str]:
    """What each rule drops; a rule is named by its reason, its limit by its key."""
    kept = found.verdicts.get(KEPT, 0)
    yield from _row("filter", f"{kept:,} of {found.usable:,} pass ({_percent(kept, found.usable)})")
    # The keys of the config stand in the order in which the rules are tried.
    for reason, key in zip(REASONS[1:], Thresholds.model_fields, strict=False):
        if n := found.verdicts.get(reason):
            share = _percent(n, found.usable)
            limit = f"{key} {getattr(limits, key):g}"
            yield f"  {'':<{_LABEL}}{_plain(reason):<18}{n:>11,}  {share:>7}  {limit}"
    low, high = limits.perplexity_quantiles
    if kept and (low > 0 or high < 1):
        share = f"{100 * (low + 1 - high):.3g} %"
        yield from _row("", f"perplexity then drops about {share}: which ones, only a run can tell")


def _cost(needed: Cost, files: int) -> Iterator[str]:
    yield "The path to token shards takes" + (f", for these {files} files" if files > 1 else "")
    about = "about" + (" (extrapolated)" if needed.extrapolated else "")
    yield from _row(
        "time",
        f"{about} {time_text(needed.wall_seconds)} on the {needed.cores} cores here, "
        f"{time_text(needed.cpu_seconds)} of CPU time, most of it in MMseqs2",
    )
    yield from _row(
        "memory", f"about {short_bytes(needed.memory_bytes)}; MMseqs2 does with less, more slowly"
    )
    yield from _row("disk", f"about {short_bytes(needed.disk_bytes)}")


def _verdict(survey: Survey) -> str:
    wrong = [one.path for one in survey.files if one.problems]
    if not wrong:
        return "fine: the pipeline can use " + ("it" if len(survey.files) == 1 else "all of them")
    return f"not usable as it is: {', '.join(wrong)}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _percent(part: float, whole: float) -> str:
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return "<0.01 %"
    return f"{percent:.2f}".rstrip("0").rstrip(".") + " %"


def time_text(seconds: float) -> str:
    """As one says it: 40 s, 3 min, 5.2 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{short_number(seconds / 3600)} h"
