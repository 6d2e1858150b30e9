"""The findings from the published logs, in sentences made from law files and constants."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from plm_scaling.cheng2024.constants import Reproduced
from plm_scaling.cheng2024.fit import SAMPLES, Points
from plm_scaling.common.progress import short_number
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Place, percent, place
from plm_scaling.laws.status import RowVerdict, Status
from plm_scaling.report.parts.findings import Finding, exponent, what_to_train
from plm_scaling.runs.tables import OBJECTIVES

VERDICTS = {
    RowVerdict.GLOBAL: "is the best fit (objective {above:.1g} % above the least)",
    RowVerdict.LOCAL: "is a local optimum, with {ratio:.1f} times the objective of the best fit",
    RowVerdict.NONE: "has {ratio:.1f} times the objective of the best fit, and a descent from it "
    "leads to that fit",
}


def published_findings(
    laws: Mapping[str, LawResult], constants: pd.DataFrame
) -> dict[str, list[Finding]]:
    """By law the findings of its objectives; `laws` by '{objective}.{law}', of which any may be
    absent."""
    return {
        law: [
            make(laws[f"{objective}.{law}"], constants)
            for objective in OBJECTIVES
            if f"{objective}.{law}" in laws
        ]
        for make, law in (
            (_exponent, "isoflop"),
            (_parametric, "parametric"),
            (_repeated, "repeated"),
            (_transfer, "transfer"),
            (_mask_ratio, "mask_ratio"),
        )
    }


def reproduction(constants: pd.DataFrame) -> Finding:
    """How many constants their own procedure reproduces, and how many lie in our intervals."""
    asked = constants["by_their_procedure"].notna()
    exact = constants["reproduced"].isin([Reproduced.PRINTED, Reproduced.NEARLY_PRINTED])
    rounded = constants["reproduced"] == Reproduced.ROUNDED
    close = constants["reproduced"] == Reproduced.CLOSE
    ours = constants["place"].isin(list(Place))
    inside = constants["place"] == Place.INSIDE
    open_ = inside & (constants["our_status"] == Status.NOT_IDENTIFIED)
    at_end = constants["place"].isin([Place.LOWER_END, Place.UPPER_END])
    near = f", {close.sum()} more to within 1 %" if close.any() else ""
    near += f", {rounded.sum()} in the one digit printed" if rounded.any() else ""
    others = constants.loc[constants["reproduced"] == Reproduced.NO, "name"].value_counts()
    rest = f"; {others.sum()} are not: " + ", ".join(f"{n} of {name}" for name, n in others.items())
    sentence = (
        f"Of {asked.sum()} published constants that the study's own procedure can compute from the "
        f"released logs, {exact.sum()} are reproduced as printed{near}"
        f"{rest if len(others) else ''}. "
        f"{inside.sum()} of {ours.sum()} lie inside the intervals of our fits"
        f"{f' ({open_.sum()} of them of a law that is not identified)' if open_.any() else ''}"
        f"{f', {at_end.sum()} at an end of them' if at_end.any() else ''}."
    )
    return Finding("", True, sentence, [])


def _exponent(law: LawResult, constants: pd.DataFrame) -> Finding:
    sound, sentence = exponent(law)
    interval = law.equations["N"].interval["a"]
    row = constants[
        (constants["name"] == "Table 2")
        & (constants["objective"] == law.objective)
        & (constants["symbol"] == "N: exponent")
    ]
    if interval and len(row):
        published = float(row["published"].iloc[0])
        where = place(published, interval)
        sentence += f" The published exponent, {published:g}, lies {where} the interval."
    return Finding(law.objective, sound, sentence, [], *what_to_train(law, sound))


def row_checks(law: LawResult) -> list[dict[str, Any]]:
    """The checks of Table A9's row, one per set of runs (`check_published_row`)."""
    checks: list[dict[str, Any]] = law.details.get("published", [])
    return checks


def row_sentence(objective: str, check: Mapping[str, Any]) -> str:
    """What a published parametric row is to one set of runs."""
    ratio = check["ratio_to_best"]
    verdict = VERDICTS[check["verdict"]].format(ratio=ratio, above=100 * (ratio - 1))
    theirs = f"; the study's fit had {SAMPLES[objective]}"
    fitted = theirs if check["source"] == Points.NOTEBOOK else " that it was not fitted to"
    return (
        f"On {check['source']} ({check['n_points']} points{fitted}) the row of Table A9 {verdict}."
    )


def _parametric(law: LawResult, _: pd.DataFrame) -> Finding:
    sentences = [row_sentence(law.objective, check) for check in row_checks(law)]
    profile = law.details["profile_E"]
    if not profile["identified"]:
        low, high = profile["flat_range"]
        sentences.append(
            f"The irreducible loss E is not identified: any value from {low:.2f} to {high:.2f} "
            f"nats fits as well to {percent(profile['flat_threshold'])}."
        )
    notes = []
    near = law.details.get("near_frontier", {})
    if near.get("equations"):
        one, other = law.equations["N"], near["equations"]["N"]
        ends = [one.interval["a"], other["interval"]["a"]]
        if one.parameters["a"] is not None and other["a"] is not None and None not in ends:
            notes.append(
                f"The implied exponent of N is {one.parameters['a']:.2f} ({ends[0][0]:.2f} to "
                f"{ends[0][1]:.2f}) from all {law.n_points} runs and {other['a']:.2f} "
                f"({ends[1][0]:.2f} to {ends[1][1]:.2f}) from the {near['n_points']} within "
                f"{near['within']:g} nats of the frontier."
            )
    notes += _held_out(law, near)
    return Finding(law.objective, law.status == Status.CONVERGED, " ".join(sentences), notes)


def _held_out(law: LawResult, near: Mapping[str, Any]) -> list[str]:
    """The held-out prediction of the run of largest compute."""
    for check in (law.details.get("held_out", {}), near.get("held_out", {})):
        runs = check.get("runs") or []
        if runs:
            run = max(runs, key=lambda row: row["flops"])
            off = run["predicted"] - run["measured"]
            return [
                f"Fitted to runs of at most {max(check['fitted_on_flops']):.2g} FLOPs, the form "
                f"predicts a loss of {run['predicted']:.3f} for the run of "
                f"{short_number(run['n_params'])} parameters; it reached {run['measured']:.3f}, "
                f"{abs(off):.3f} nats {'below' if off > 0 else 'above'}."
            ]
    return []


def _repeated(law: LawResult, _: pd.DataFrame) -> Finding:
    sizes = law.details.get("sizes", [])
    good = [size for size in sizes if size["status"] != Status.NOT_IDENTIFIED]
    bad = [size for size in sizes if size["status"] == Status.NOT_IDENTIFIED]
    joint = law.details.get("joint", {})
    sentences = []
    if good and joint.get("R_D") is not None:
        low, high = joint["interval"] or (None, None)
        spread = f" ({_open(low)} to {_open(high)})" if joint["interval"] else ""
        worth = [s["effective_over_unique_at_end"] for s in good]
        worth = [w for w in worth if w is not None]
        epochs = max(size["epochs"] for size in good)
        sentences.append(
            f"The value of repeated tokens decays with R* = {joint['R_D']:.1f}{spread} at "
            f"{_names(good)} parameters: {epochs:.0f} epochs are worth "
            f"{min(worth):.1f} to {max(worth):.1f} epochs of fresh tokens."
        )
    if bad:
        rise = max(size["excess"]["kappa"] for size in bad)
        sentences.append(
            f"At {_names(bad)} parameters ({len(bad)} of {len(sizes)} runs) no R* exists, as the "
            f"loss rises again; an additive c·R^κ describes it, with κ up to {rise:.1f}."
        )
    return Finding(law.objective, not bad and bool(good), " ".join(sentences), [])


def _open(end: float | None) -> str:
    return "open" if end is None else f"{end:.1f}"


def _names(sizes: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(short_number(size["n_params"]) for size in sizes))
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _transfer(law: LawResult, _: pd.DataFrame) -> Finding:
    pairs = sorted(law.details["pairs"], key=lambda pair: pair["n_params"])
    other = {"clm": "MLM", "mlm": "CLM"}[law.objective]
    first, last = pairs[0], pairs[-1]
    ratios = [pair["compute_ratio"] for pair in pairs if pair["compute_ratio"] is not None]
    sentence = f"Starting from {other} lowers the loss by {_gain(first)} and {_gain(last)}"
    pays = bool(ratios) and min(ratios) > 1
    if ratios:
        verdict = "pays" if pays else "does not pay" if max(ratios) < 1 else "pays at some sizes"
        sentence += (
            f", and {verdict}: all compute counted, it is worth {min(ratios):.2f} to "
            f"{max(ratios):.2f} times as much spent from scratch."
        )
    else:
        sentence += "."
    share = law.details["split"]["best_share"]
    note = "The best split of a budget is not identified: no sweep over shares was released."
    notes = [note] if share is None else [f"The best share for {other} is {share:.2f}."]
    return Finding(law.objective, law.status == Status.CONVERGED, sentence, notes)


def _gain(pair: Mapping[str, Any]) -> str:
    """A pair's gain and size, and whether the gain is within noise."""
    low, high = pair["gain_interval"] or (math.inf, math.inf)
    noise = f" (within noise: {low:.3f} to {high:.3f})" if low <= 0 <= high else ""
    return f"{pair['gain_nats']:.3f} nats at {short_number(pair['n_params'])}{noise}"


def _mask_ratio(law: LawResult, _: pd.DataFrame) -> Finding:
    equation = law.equations["L"]
    ratio, interval = equation.parameters["ratio"], equation.interval["ratio"]
    if ratio is None or interval is None:
        return Finding(law.objective, False, "The runs show no best mask ratio.", law.warnings)
    alike = [
        {row["mask_ratio"] for row in size["ratios"] if row["within_noise"]}
        for size in law.details["sizes"]
    ]
    common = sorted(set.intersection(*alike))
    ratios = " and ".join(f"{100 * r:.0f} %" for r in common)
    sentence = (
        f"The parabola through the losses has its minimum at a mask ratio of {100 * ratio:.1f} % "
        f"({100 * interval[0]:.1f} to {100 * interval[1]:.1f} %). Of the ratios trained, "
        f"{ratios} cannot be told from the best at any size."
    )
    warning = law.warnings[0]
    notes = [f"{warning[0].upper()}{warning[1:]}."]
    return Finding(law.objective, law.status == Status.CONVERGED, sentence, notes)
