"""Scores of a model from its predictions of the mutants of all assays."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from plm_scaling.downstream.fitness.average import Average, averages
from plm_scaling.downstream.fitness.metrics import METRICS, Classes, Values
from plm_scaling.downstream.scores import Score

RESAMPLES = 200  # of the mutants of an assay
BLOSUM62, SITE_INDEPENDENT = "blosum62", "site_independent"
# Of random predictions, where BLOSUM62 says nothing: insertions and deletions.
RANDOM = {"spearman": 0.0, "auc": 0.5, "mcc": 0.0, "top_recall": 0.1}


def scores_of(
    assays: list[pd.DataFrame], proteins: pd.DataFrame, protocols: list[str], seed: int
) -> list[Score]:
    """Scores by protocol and metric: ProteinGym's average over all assays, that of each selection
    type (protocol `{protocol}_{type}`) where there are several, and those of single assays.

    `assays`: mutants with the columns group, target, fit, blosum62, site_independent and the
    protocols; `proteins`: by group, with protein and type. The floor is BLOSUM62's score, or that
    of random predictions. Standard errors are over proteins; of a single assay over its mutants,
    and where there are others beside it, of Spearman's correlation alone.
    """
    groups = [str(assay["group"].iloc[0]) for assay in assays]
    known = proteins.loc[groups]
    types = known["type"].tolist()
    found: list[Score] = []
    for metric in METRICS:
        values = {
            name: [_value(metric, assay, name) for assay in assays]
            for name in (*protocols, BLOSUM62, SITE_INDEPENDENT)
        }
        means = {
            name: averages(known["protein"].tolist(), types, own, seed)
            for name, own in values.items()
        }
        for protocol in protocols:
            errors = [
                _spread(metric, assay, protocol, seed)
                if len(assays) == 1 or metric == "spearman"
                else None
                for assay in assays
            ]
            found += _averaged(metric, protocol, means, assays, types, errors)
            found += [
                Score(
                    *(protocol, metric, value, error, len(assay), 1),
                    floor=_floor(metric, lowest),
                    note=_reference(best),
                    group=group,
                )
                for group, assay, value, error, lowest, best in zip(
                    *(groups, assays, values[protocol], errors),
                    *(values[BLOSUM62], values[SITE_INDEPENDENT]),
                    strict=True,
                )
            ]
    return found


def _averaged(
    metric: str,
    protocol: str,
    means: dict[str, dict[str, Average]],
    assays: list[pd.DataFrame],
    types: list[str],
    errors: list[float | None],
) -> Iterator[Score]:
    names = [*means[protocol]]
    for kind in names if len(names) > 2 else names[:1]:
        mean = means[protocol][kind]
        inside = [not kind or one == kind for one in types]
        own = [assay for assay, is_in in zip(assays, inside, strict=True) if is_in]
        error = mean.standard_error
        if len(own) == 1:
            error = errors[inside.index(True)]
        floor, reference = (
            means[name][kind].value if kind in means[name] else None
            for name in (BLOSUM62, SITE_INDEPENDENT)
        )
        yield Score(
            f"{protocol}_{kind.lower()}" if kind else protocol,
            *(metric, mean.value, error, sum(map(len, own)), len(own)),
            floor=_floor(metric, floor),
            note=_reference(reference),
        )


def _value(metric: str, assay: pd.DataFrame, protocol: str) -> float | None:
    """Of the mutants that have a prediction; None where none has."""
    own = assay[assay[protocol].notna()]
    return METRICS[metric](*_arrays(own, protocol)) if len(own) else None


def _spread(metric: str, assay: pd.DataFrame, protocol: str, seed: int) -> float | None:
    """Standard error by a bootstrap over the mutants; None where a resample has no value."""
    target, fit, predicted = _arrays(assay, protocol)
    random = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES):
        drawn = random.integers(len(assay), size=len(assay))
        values.append(METRICS[metric](target[drawn], fit[drawn], predicted[drawn]))
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) == RESAMPLES else None


def _arrays(assay: pd.DataFrame, protocol: str) -> tuple[Values, Classes, Values]:
    return (
        assay["target"].to_numpy(float),
        assay["fit"].to_numpy(bool),
        assay[protocol].to_numpy(float),
    )


def _floor(metric: str, blosum62: float | None) -> float | None:
    return RANDOM.get(metric) if blosum62 is None else blosum62


def _reference(site_independent: float | None) -> str:
    return "" if site_independent is None else f"site-independent {site_independent:.3f}"
