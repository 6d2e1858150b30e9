import pytest
from filtered import Filtered, prepare


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Filtered:
    """Scored and selected once, in four parts."""
    run = prepare(tmp_path_factory.mktemp("filtered"), parts=4)
    run.score()
    run.select()
    return run


@pytest.fixture(scope="session", params=[1, 16])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Filtered:
    """The same records in another number of parts, scored alike."""
    run = prepare(tmp_path_factory.mktemp(f"filtered{request.param}"), parts=request.param)
    run.score()
    return run
