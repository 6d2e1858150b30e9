"""The tables of the study's released logs: as they ship, and made from the logs where these are."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pytest

from plm_scaling.cheng2024.logs.importer import import_published
from plm_scaling.cheng2024.logs.shipped import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT.parent / "shared/data/ScalingProteinLM-12acfa0"


@dataclass(frozen=True)
class Published:
    """The tables in one folder: paths and, read on first use, contents."""

    folder: Path

    @property
    def runs_file(self) -> Path:
        return self.folder / "runs.csv"

    @property
    def curves_file(self) -> Path:
        return self.folder / "curves.parquet"

    @property
    def notebook_file(self) -> Path:
        return self.folder / "notebook_points.parquet"

    @cached_property
    def runs(self) -> pd.DataFrame:
        return pd.read_csv(self.runs_file, keep_default_na=True).fillna(
            {"init_from": "", "excluded": "", "notes": ""}
        )

    @cached_property
    def curves(self) -> pd.DataFrame:
        return pd.read_parquet(self.curves_file)

    @cached_property
    def audit(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "audit.csv", keep_default_na=False)

    @cached_property
    def notebook(self) -> pd.DataFrame:
        return pd.read_parquet(self.notebook_file)


def logs_or_skip() -> Path:
    """The folder of the released logs; skips the test where it is absent."""
    if not LOGS.is_dir():
        pytest.skip(f"the study's released logs are not at {LOGS.relative_to(ROOT.parent)}")
    return LOGS


@pytest.fixture(scope="session")
def published() -> Published:
    """The tables that ship."""
    return Published(SHIPPED)


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The tables of `import_published` from the released logs, made once per session."""
    logs = logs_or_skip()
    result = Published(tmp_path_factory.mktemp("published"))
    import_published(
        result.runs_file,
        result.curves_file,
        result.folder / "audit.csv",
        result.notebook_file,
        logs=logs,
    )
    return result
