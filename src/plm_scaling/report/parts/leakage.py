"""What the page says of leakage: what was searched, how, and what was found."""

from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.files import read_json

DASH = "–"


def share(part: float, whole: float) -> str:
    """'1.4 %', or a dash of nothing."""
    return f"{100 * part / whole:.3g} %" if whole else DASH


def leakage_sentences(report: Path | None, leakage: Path | None) -> list[str]:
    """On the search, on what it found of each held-out set, on its limits and on the table."""
    if report is None or leakage is None:
        return []
    checked, table = read_json(report), pd.read_csv(leakage, sep="\t", keep_default_na=False)
    criteria = checked["criteria"]
    return [
        "After the split's purge every held-out sequence was searched for in the "
        f"{checked['training_sequences']:,} sequences that a corpus may be trained on, "
        "near-duplicates and what the filter drops included "
        f"(MMseqs2 {checked['mmseqs']}, sensitivity {criteria['check_sensitivity']:g}, "
        f"E ≤ {criteria['e_value']:g}, low complexity not masked, scores corrected for "
        "composition).",
        *(_found(name, own, checked) for name, own in table.groupby("held_out", sort=False)),
        "This does not exclude more remote homologues, which a search of this sensitivity misses, "
        "nor shared stretches that are too short to be found.",
        "Each sequence is in one row, by the identity of its best local alignment: the one of the "
        "highest score, be it of a short stretch.",
    ]


def _found(name: Any, table: pd.DataFrame, checked: dict[str, Any]) -> str:
    criteria, one = checked["criteria"], table.sum(numeric_only=True)
    none = table.loc[table["identity"] == "none", "sequences"].sum()
    left_out = (
        " (sequences of fewer than 30 residues left out)"
        if one["residues_testable"] < one["residues"]
        else ""
    )
    return (
        f"Of {one['sequences']:,} held-out sequences ({name}), {_of(one, 'covered_by_one')} align "
        f"with one training sequence over at least {100 * criteria['coverage']:g} % of their "
        f"length at an identity of {100 * criteria['min_seq_id']:g} % or more "
        f"({100 * checked['max_leaked_fraction']:g} % are allowed), and "
        f"{_of(one, 'covered_together')} with one or several together; for {none:,} "
        f"({share(none, one['sequences'])}) no alignment was found. Of the residues, "
        f"{share(one['residues_in_30mers'], one['residues_testable'])} lie in stretches of 30 that "
        f"training has exactly{left_out}, and "
        f"{share(one['residues_aligned'], one['residues'])} in local alignments of any identity."
    )


def _of(one: pd.Series, column: str) -> str:
    return f"{one[column]:,} ({share(one[column], one['sequences'])})"


def leakage_rows(leakage: Path | None) -> list[dict[str, str]]:
    """One row per held-out set and bin of the best alignment's identity, and one for all bins."""
    if leakage is None:
        return []
    table = pd.read_csv(leakage, sep="\t", keep_default_na=False)
    sums = table.groupby("held_out", sort=False).sum(numeric_only=True).reset_index()
    both = pd.concat([table, sums.assign(identity="all")])
    return [
        {
            "held-out set": row["held_out"],
            "best identity": row["identity"].replace(">=", "≥ ").replace("<", "< "),
            "sequences": f"{row['sequences']:,}",
            "residues": f"{row['residues']:,}",
            "in exact 30-mers": share(row["residues_in_30mers"], row["residues_testable"]),
            "in local alignments": share(row["residues_aligned"], row["residues"]),
            "covered by one": f"{row['covered_by_one']:,}",
            "covered together": f"{row['covered_together']:,}",
        }
        for name in sums["held_out"]
        for row in both[both["held_out"] == name].to_dict("records")
    ]
