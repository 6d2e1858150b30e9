"""The study's own N(C), D(C) and L(C), by its own procedures, from its released logs.

Two procedures led to published numbers, and both are kept as they are, oddities included:
the released notebook (`notebook_envelope`) and the seven minima behind Figure 2 and Table 2
(`read_minima`). What we recommend instead is `plm_scaling.laws.frontier`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plm_scaling.errors import LawError
from plm_scaling.laws.frontier_fits import fit_linear, fit_log
from plm_scaling.laws.intervals import Floats
from plm_scaling.laws.power import PowerLaws
from plm_scaling.runs.tables import OBJECTIVES

PETAFLOP_DAY = 8.64e19  # FLOPs; the notebook fits the loss against C in this unit
FOLDERS = {
    objective: Path("data", "training_logs", name, "approach3_flops")
    for objective, name in (("clm", "gpt_valid"), ("mlm", "mlm_valid"))
}
# The notebook's folder name -> N. Some are 12·L·d², some count the embeddings, and 7B is mistyped;
# the exact counts are in plm_scaling.sweep.ladder.
NOTEBOOK_SIZES = {
    "3M": 3538944, "6M": 6291456, "10M": 9830400, "13M": 13192320, "20M": 19267584,
    "25M": 25165824, "34M": 33690624, "40M": 39813120, "47M": 47775744, "65M": 65728000,
    "85M": 84934656, "106M": 106168320, "127M": 127699968, "154M": 154448288, "170M": 170233344,
    "200M": 202309632, "230M": 231211008, "300M": 302426080, "393M": 393216000, "470M": 472435184,
    "550M": 550502400, "650M": 650930624, "680M": 680205312, "880M": 886308864, "1.2B": 1208881136,
    "1.5B": 1528823808, "1.7B": 1784851968, "2B": 2044723200, "2.4B": 2359296000,
    "2.8B": 2834283904, "3.4B": 3425697792, "4B": 4076863488, "5B": 4917322640, "6B": 6165626880,
    "7B": 7247758312, "10B": 10682105856,
}  # fmt: skip
LAST_POINTS = 10
LARGEST_GAP = 1e9  # GFLOPs
EVALUATION_STEPS = 300
MINIMA_COLUMNS = ("objective", "flops", "size", "n_params", "loss")


@dataclass(frozen=True)
class FrontierPoints:
    """Points (n,) by rising compute: FLOPs, parameters, tokens and loss in nats/token."""

    flops: Floats
    n_params: Floats
    tokens: Floats
    loss: Floats

    def where(self, keep: Floats) -> "FrontierPoints":
        """The points for which `keep` (n,) is true."""
        return FrontierPoints(*(v[keep] for v in vars(self).values()))


def notebook_envelope(tree: Path, objective: str) -> FrontierPoints:
    """The points that the released notebook fits, from the released files as they are.

    Its rules, to the letter. Every file whose name begins with "run" (so not the 7.2B CLM run,
    "dep-run…") loses its first evaluation and gives a target: the least of its last ten x values,
    in GFLOPs. At each target every file of a folder with a known size offers its nearest point, if
    that lies within 1e18 FLOPs, and the lowest loss wins. The winner's N is its folder's, right or
    not; its D is the row number times 300 steps of 512 sequences of 1024 tokens, or of 1024
    sequences in folders named in B, although the row number is one short (the first evaluation was
    dropped), some runs had other batches, and long logs were thinned; C is the target.
    No axis is corrected and no copy removed.

    Equal losses go to the file seen first, so the result depends on the order of folders, which
    the notebook takes from the file system: the 13.2M CLM run at 1e18 is also in `6M_flops`, and
    the stored outputs follow only if that folder comes before `13M_flops`. Folders are visited by
    rising size here, which does that. Raises LawError if the logs are not there.
    """
    folder = tree / FOLDERS[objective]
    files = [f for f in folder.glob("*/*") if f.name.startswith("run")]
    if not files:
        raise LawError(
            f"{folder}: no released {objective} logs; give the root of the released repository"
        )
    sizes = {f.parent: NOTEBOOK_SIZES.get(f.parent.name.split("_")[0], 0) for f in files}
    files.sort(key=lambda f: (sizes[f.parent], f.parent.name, f.name))
    curves = [(sizes[f.parent], f.parent.name, _read_log(f)) for f in files]
    targets = np.unique([curve[-LAST_POINTS:, 0].min() for _, _, curve in curves])
    best = np.full((len(targets), 3), np.inf)  # loss, N, D
    for size, name, curve in curves:
        if not size:  # three folders that the notebook's map lacks
            continue
        sequences = 1024 if name.split("_")[0].endswith("B") else 512
        distance = np.abs(curve[None, :, 0] - targets[:, None])
        row = distance.argmin(axis=1)
        loss = curve[row, 1]
        wins = (distance.min(axis=1) <= LARGEST_GAP) & (loss < best[:, 0])
        tokens = (row + 1) * sequences * 1024 * EVALUATION_STEPS
        best[wins] = np.stack([loss, np.full(len(row), size), tokens], axis=1)[wins]
    found = np.isfinite(best[:, 0])
    loss, n_params, tokens = best[found].T
    return FrontierPoints(1e9 * targets[found], n_params, tokens, loss)


def _read_log(path: Path) -> Floats:
    """(GFLOPs, loss) of a released file without its first evaluation, shape (n, 2)."""
    table = pd.read_csv(path, skiprows=2, header=None, usecols=[1, 2], dtype=float)
    return table.to_numpy(float)


def read_minima(path: Path, objective: str) -> FrontierPoints:
    """The seven minima behind Figure 2 and Table 2 (resources/published/minima.tsv).

    Each is the size with the lowest loss of one IsoFLOP budget in the authors' hand-entered table,
    which their repository gave later (analysis/isoflop_uncertainty.py); D = C/(6·N). N is the
    table's own count, as above. Raises LawError naming the file and what is wrong with it.
    """
    if not path.is_file():
        raise LawError(f"{path}: no such table of minima; it ships in resources/published/")
    table = pd.read_csv(path, sep="\t", comment="#")
    missing = [c for c in MINIMA_COLUMNS if c not in table.columns]
    if missing:
        raise LawError(f"{path}: column(s) missing: {', '.join(missing)}")
    table = table[table["objective"] == objective].sort_values("flops")
    if len(table) < 2:
        raise LawError(f"{path}: {len(table)} minima for '{objective}'; a power law needs two")
    c, n, loss = (table[name].to_numpy(float) for name in ("flops", "n_params", "loss"))
    return FrontierPoints(c, n, c / (6 * n), loss)


def published_variants(tree: Path, minima: Path, objective: str) -> list[dict[str, Any]]:
    """Both published procedures, each as published and with what they rest on changed.

    Rows are as in `details["variants"]` of a frontier law, without intervals (the study gives
    none): the notebook's points and the seven minima, fitted in linear space as published and in
    log-log, with all points, without the dearest, and without those above 1.1e21 FLOPs (the
    IsoFLOP sweep ends at 1e21).
    """
    if objective not in OBJECTIVES:
        raise LawError(f"no objective named '{objective}'; there are {', '.join(OBJECTIVES)}")
    rows = []
    sources = {
        "notebook envelope": notebook_envelope(tree, objective),
        "minima of Table 2": read_minima(minima, objective),
    }
    for source, points in sources.items():
        subsets = {
            "all": np.full(len(points.flops), True),
            "without the dearest point": points.flops < points.flops.max(),
            "C <= 1.1e21": points.flops <= 1.1e21,
        }
        for subset, keep in subsets.items():
            if subset != "all" and keep.all():
                continue
            for space, fit in (("linear", fit_linear), ("log", fit_log)):
                chosen = points.where(keep)
                row = {"source": source, "points": subset, "space": space}
                rows.append(row | _laws(chosen, fit, source.startswith("notebook")))
    return rows


def _laws(
    points: FrontierPoints, fit: Callable[[Floats, Floats, Floats], PowerLaws], in_days: bool
) -> dict[str, Any]:
    """k and exponent of N, D and L; L against C in petaFLOP-days where the notebook does so."""
    laws: dict[str, Any] = {"n_points": len(points.flops)}
    unit = PETAFLOP_DAY if in_days else 1.0
    weights = np.ones(len(points.flops))
    for name, power, x, y in (
        ("N", "a", points.flops, points.n_params),
        ("D", "b", points.flops, points.tokens),
        ("L", "c", points.flops / unit, points.loss),
    ):
        law = fit(x, y, weights)
        argument = "(C/8.64e19)" if name == "L" and in_days else "C"
        laws[name] = {
            "form": f"k*{argument}^{power}",
            "k": float(np.exp(law.log_k[0])),
            power: float(law.exponent[0]),
        }
    return laws
