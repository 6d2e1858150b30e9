"""Columns may be arrays, lists or pandas Series of any labels: the laws are the same."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic import DEMO_BUDGETS, Surface, isoflop_grid

import plm_scaling.laws
from plm_scaling.common.errors import LawError
from plm_scaling.laws import (
    fit_frontier,
    fit_isoflop,
    fit_joint,
    fit_mask_ratio,
    fit_parametric,
    fit_repeated,
    fit_transfer,
    fit_tuning,
)
from plm_scaling.laws.parametric.checks import check_published_row
from plm_scaling.laws.repeated.curves import RepeatedCurve
from plm_scaling.laws.repeated.sizes import fit_repeated_curves
from plm_scaling.laws.transfer.pairs import Curve, TransferPair

RNG = np.random.default_rng(5)
ROW = {"E": 1.6, "A": 30.0, "B": 130.0, "alpha": 0.34, "beta": 0.36}
SETTINGS = {"bootstrap": 100}


def grid():
    n, d, c, loss = isoflop_grid(Surface(), DEMO_BUDGETS, 7, noise=0.002)
    order = RNG.permutation(len(n))
    names = ("n_params", "tokens", "flops", "loss")
    return dict(zip(names, (x[order] for x in (n, d, c, loss)), strict=True))


GRID = grid()


def isoflop(convert):
    columns = {name: convert(values) for name, values in GRID.items()}
    return fit_isoflop(**columns, loss_sd=convert(np.full(len(GRID["loss"]), 0.003)), **SETTINGS)


def frontier(convert):
    columns = {name: convert(values) for name, values in GRID.items()}
    names = [f"run{i}" for i in range(len(GRID["loss"]))]
    return fit_frontier(convert(np.array(names)), **columns, **SETTINGS)


def parametric(convert):
    columns = {name: convert(GRID[name]) for name in ("n_params", "tokens", "loss")}
    return fit_parametric(**columns, **SETTINGS)


def published_row(convert):
    columns = {name: convert(GRID[name]) for name in ("n_params", "tokens", "loss")}
    return check_published_row(**columns, row=ROW)


def mask_ratio(convert):
    ratio = np.tile([0.3, 0.05, 0.2, 0.1, 0.15], 2)
    n = np.repeat([2e8, 1e8], 5)
    loss = 2.2 + 0.05 * np.log(ratio / 0.12) ** 2 + 0.001 * np.cos(np.arange(10))
    columns = {"n_params": n, "tokens": 300 * n, "mask_ratio": ratio, "loss": loss}
    noise = np.full(10, 0.002)
    columns = {name: convert(values) for name, values in columns.items()}
    return fit_mask_ratio(**columns, noise=convert(noise), **SETTINGS)


def tuning(convert):
    n, d, factor = (
        x.ravel() for x in np.meshgrid([1e7, 3e7, 1e8], [1e9, 4e9], [0.25, 0.5, 2, 4, 1])
    )
    rate = 4e-3 * (n / 1e7) ** -0.5 * (d / 1e9) ** 0.2
    loss = 2.5 + 0.03 * np.log(factor) ** 2 + 0.001 * np.cos(np.arange(30))
    columns = (convert(x) for x in (n, d, np.full(30, 2.0**16), factor * rate, loss))
    return fit_tuning(*columns, swept=convert(factor == 1), **SETTINGS)


def repeated(convert):
    n = np.tile(np.geomspace(1e7, 1e9, 4), 4)
    d = np.repeat([5e8, 1e9, 4e9, 1.6e10], 4)
    again = np.minimum(d, 1e9)
    worth = again * (1 - 10 * np.expm1(-(d / again - 1) / 10))
    loss = 1.8 + 500 / n**0.35 + 2100 / worth**0.37
    columns = (convert(x[::-1]) for x in (n, d, again, loss))
    return fit_repeated(*columns, base=ROW | {"E": 1.8, "A": 500, "B": 2100}, **SETTINGS)


def repeated_curves(convert):
    tokens = np.arange(1.0, 60) * 1e9
    loss = 1.9 + 900 / tokens**0.33
    again = 1.9 + 900 / (1e10 * (1 - 8 * np.expm1(-np.maximum(tokens / 1e10 - 1, 0) / 8))) ** 0.33
    loss_again = np.where(tokens > 1e10, again, loss) + 0.003 * np.sin(7 * tokens)
    some = slice(9, None, 10)
    curve = RepeatedCurve(
        "again", 1e9, 1e10, convert(tokens), convert(loss_again), "fresh", convert(tokens),
        convert(loss), convert(tokens[some]), convert(loss[some]),
    )  # fmt: skip
    return fit_repeated_curves([curve], **SETTINGS)


def transfer(convert):
    tokens = np.linspace(1e8, 4e10, 60)
    pairs = [
        TransferPair(
            f"t{n:g}", f"s{n:g}", "clm:x", n, 4e10, 2.4e11 * n, 1e11 * n, loss(n, 1.2), 0.001,
            loss(n, 1.0), 0.001, Curve(convert(tokens), convert(loss(n, 1.2, tokens))),
            Curve(convert(tokens), convert(loss(n, 1.0, tokens))),
        )
        for n in (3e7, 1e8, 3e8)
    ]  # fmt: skip
    columns = {"n_params": np.full(5, 1e8), "flops": np.array([9.0, 7, 6, 8, 5]) * 1e18}
    columns["source_flops"] = 1e19 - columns["flops"]
    columns["loss"] = 2 + (columns["source_flops"] / 1e19 - 0.3) ** 2
    sweep = {name: convert(values) for name, values in columns.items()}
    return fit_transfer(pairs, sweep=sweep, **SETTINGS)


def loss(n, gain, tokens=4e10):
    return 1.2 + 18 / n**0.2 + 60 / (gain * tokens) ** 0.25


def joint(convert):
    return fit_joint(isoflop(convert), isoflop(convert), **SETTINGS)


def shuffled(values):
    """A Series whose labels, used as positions, give the values in another order."""
    order = np.random.default_rng(1).permutation(len(values))
    return pd.Series(np.asarray(values), index=order)


FITS = (
    *(isoflop, frontier, parametric, published_row, mask_ratio),
    *(repeated, repeated_curves, transfer, joint, tuning),
)


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.__name__)
@pytest.mark.parametrize("convert", [shuffled, list, tuple], ids=lambda kind: kind.__name__)
def test_series_lists_and_arrays_give_the_same_law(fit, convert):
    one, other = fit(convert), fit(np.asarray)
    if not isinstance(one, dict):
        one, other = one.to_json(), other.to_json()
    assert one == other


def test_every_exported_fit_is_among_those_tested():
    exported = {name for name in plm_scaling.laws.__all__ if name.startswith("fit_")} - {"fit_runs"}
    assert exported == {f"fit_{fit.__name__}" for fit in FITS} - {
        "fit_published_row",
        "fit_repeated_curves",
    }


BAD = {
    "not numbers": lambda x: ["a", *x[1:]],
    "empty": lambda x: [None, *x[1:]],
    "NaN": lambda x: [np.nan, *x[1:]],
    "too short": lambda x: x[1:],
    "a table": lambda x: np.stack([x, x]),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", ["n_params", "tokens", "loss"])
@pytest.mark.parametrize(
    "fit", [fit_isoflop, fit_parametric, fit_frontier], ids=lambda fit: fit.__name__
)
def test_bad_columns_are_refused_by_name(fit, name, bad):
    columns = {**GRID, "run": np.arange(len(GRID["loss"])).astype(str)}
    wanted = fit.__code__.co_varnames[: fit.__code__.co_argcount]
    columns = {key: values for key, values in columns.items() if key in wanted}
    with pytest.raises(LawError, match=name):
        fit(**{**columns, name: bad(columns[name])})


def test_bad_names_of_runs_and_bad_curves_are_refused_by_name():
    with pytest.raises(LawError, match="run"):
        fit_frontier(["one"], **GRID)
    with pytest.raises(LawError, match="loss"):
        Curve(np.array([1e8, 2e8]), np.array([2.0, np.nan]))
    good = Curve([1e8, 2e8], [2.0, 1.9])
    with pytest.raises(LawError, match="tokens"):
        replace(good, tokens=[1e8])
