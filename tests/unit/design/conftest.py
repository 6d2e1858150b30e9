"""The full study's config and what the study's laws say before it."""

import pytest

from plm_scaling.config.load import FULL_STUDY, read_config
from plm_scaling.design.prior import find_prior
from plm_scaling.planner.question import PUBLISHED_LAWS


@pytest.fixture(scope="session")
def full():
    return read_config(FULL_STUDY)


@pytest.fixture(scope="session")
def priors():
    return {objective: find_prior(PUBLISHED_LAWS, objective) for objective in ("clm", "mlm")}
