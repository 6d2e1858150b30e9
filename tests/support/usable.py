"""The runs of a table that a law may use, as `fit_law` chooses them."""

import pandas as pd

from plm_scaling.laws.selection import why_left_out


def usable(law: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Those of which `law` has nothing to say."""
    return runs[why_left_out(law, runs) == ""]
