"""The last lines of `make demo`: what was done, what the real law says, what to try next.

python -m plm_scaling.report.demo results/demo results/published 1767222000
"""

import os
import shutil
import sys
import time
from pathlib import Path

import pandas as pd

from plm_scaling.common.progress import short_time
from plm_scaling.config.load import read_config
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.laws.status import Status
from plm_scaling.report.summary import address
from plm_scaling.runs.tables import read_runs

COMMAND = "plm-scaling"


def last_lines(study: Path, published: Path, seconds: float) -> list[str]:
    """Five lines on the results folders of the demo and of the published runs.

    `seconds` is what this run of both took. The sequences are counted in data/ beside results/.
    """
    config = read_config(study / "config.yaml")
    clean = study.parents[1] / "data" / config.data.name / "clean"  # also sources of other configs
    tables = [clean / name / "counts.tsv" for name in config.sources]
    counts = pd.concat(pd.read_csv(path, sep="\t") for path in tables)
    proteins = counts.loc[counts["reason"] == "in", "sequences"].sum()
    sizes = read_runs(study / "runs.csv")["n_params"].astype(int)
    laws = [read_law(published / f"laws/{objective}.isoflop.json") for objective in ("clm", "mlm")]
    command = _command()
    return [
        f"the pipeline, small: {proteins:,} proteins, {len(sizes)} models of "
        f"{sizes.min():,} to {sizes.max():,} parameters; "
        f"this run took {short_time(seconds)}",
        f"the law, real: 10× compute, size {_growth(laws)}{_doubt(laws)}",
        f"next: {command} plan --objective clm --gpus 8xA100 --days 14; {command} init --help",
        f"small: {address(study / 'report.html')}",
        f"real:  {address(published / 'report.html')}",
    ]


def _growth(laws: list[LawResult]) -> str:
    """What ten times the compute does to the best size: '×4.8 (95 % 3.9 to 6.5) CLM, …', the level
    of the intervals once, since one setting gives it to all."""
    said: list[str] = []
    for law in laws:
        equation, growth = law.equations["N"], "unknown"
        a, interval = equation.parameters["a"], equation.interval["a"]
        if a is not None and interval is not None:
            low, high = (10**end for end in interval)
            level = "" if any("(" in one for one in said) else f"{percent(equation.level)} "
            growth = f"×{10**a:.1f} ({level}{low:.1f} to {high:.1f})"
        said.append(f"{growth} {law.objective.upper()}")
    return ", ".join(said)


def _doubt(laws: list[LawResult]) -> str:
    """How the laws stand, in their order, unless their runs determine all of them."""
    found = list(dict.fromkeys(law.status for law in laws))
    if found == [Status.CONVERGED]:
        return ""
    return f"; exponents {', '.join(status.replace('_', ' ') for status in found)}"


def _command() -> str:
    """The command line, as one can type it here."""
    if shutil.which(COMMAND):
        return COMMAND
    return os.path.relpath(Path(sys.executable).with_name(COMMAND))


if __name__ == "__main__":
    own, of_study, began = sys.argv[1:]
    print(*last_lines(Path(own), Path(of_study), time.time() - float(began)), sep="\n")
