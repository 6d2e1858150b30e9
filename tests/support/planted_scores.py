"""Tables of scores whose law is known: cells along a frontier, with the errors of their items."""

from collections.abc import Callable

import numpy as np
import pandas as pd


def monotone(loss: np.ndarray) -> np.ndarray:
    """Rises from 0.02, as contacts do."""
    return 0.02 + 60 * np.exp(-2.5 * loss)


def peaked(loss: np.ndarray) -> np.ndarray:
    """Best at 2.3 nats, as fitness is."""
    return 0.4 - 1.5 * (loss - 2.3) ** 2


def flat(loss: np.ndarray) -> np.ndarray:
    """Does not follow the loss, as fluorescence."""
    return np.full_like(loss, 0.67)


def cells(
    budgets: int = 5, sizes: int = 3, objective: str = "clm", low: float = 1.9, high: float = 2.7
) -> pd.DataFrame:
    """Cells of several budgets and sizes; N is not a function of the loss. Loss in nats/token."""
    rows = []
    for b, flops in enumerate(np.geomspace(1e17, 1e21, budgets)):
        for s, off in enumerate(np.linspace(-1, 1, sizes) if sizes > 1 else (0.0,)):
            loss = high - (high - low) * b / max(budgets - 1, 1) + 0.04 * off**2
            n_params = 0.05 * flops**0.5 * 3**off
            rows.append(
                {
                    "model": f"{objective}-{b}-{s}",
                    "kind": "cell",
                    "objective": objective,
                    "n_params": n_params,
                    "tokens": flops / 6 / n_params,
                    "flops": flops,
                    "loss": loss,
                }
            )
    return pd.DataFrame(rows)


def scores(
    law: Callable[[np.ndarray], np.ndarray],
    error: float = 0.01,
    noise: float | None = None,
    seed: int = 1,
    untrained: float | None = None,
    of: pd.DataFrame | None = None,
    metric: str = "spearman",
    dataset: str = "planted",
) -> pd.DataFrame:
    """scores.csv of the cells `of`; scores scatter by `noise` (`error` if not told), their standard
    error is `error`. `untrained`: the score of an untrained cell, if there is one."""
    table = cells() if of is None else of
    scatter = np.random.default_rng(seed).normal(size=len(table)) * (
        error if noise is None else noise
    )
    table = table.assign(value=law(table["loss"].to_numpy()) + scatter)
    if untrained is not None:
        row = table.iloc[[0]].assign(model="untrained", kind="untrained", value=untrained)
        row = row.assign(loss=np.nan, tokens=0.0, flops=0.0)
        table = pd.concat([table, row], ignore_index=True)
    return table.assign(
        dataset=dataset, protocol="llr", metric=metric, standard_error=error, task="fitness",
        floor=np.nan, n_items=100, n_groups=10, layer=np.nan, seed=1, exposed=np.nan, note="",
        recipe="prenorm", corpus="all", size="s",
    )  # fmt: skip
