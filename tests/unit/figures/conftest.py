"""A study with all its figures, drawn once for all tests of this folder."""

import pickle

import pytest
import study
from pipeline import made_once
from quick_figures import only_svg

from plm_scaling.figures.draw import draw_figures

IN_ALL_FORMATS = ("parametric", "funnel")  # one of the runs and one of the data


@pytest.fixture(scope="session")
def drawn_study(tmp_path_factory):
    """Of two objectives, fitted and drawn, all but IN_ALL_FORMATS as SVG alone: arguments of
    `draw_figures`, of which the figures of the data are apart. Tests that change it must copy it.
    """
    with made_once(tmp_path_factory, "drawn") as (folder, to_do):
        file = folder / "arguments.pickle"
        if to_do:
            tables = study.write_data_tables(folder / "data")
            data = {name: tables[name] for name in ("counts", "filter")}
            arguments = study.fitted_study(folder / "study")
            with only_svg():
                draw_figures(**arguments, **data)
            draw_figures(**arguments, **data, only=IN_ALL_FORMATS)
            file.write_bytes(pickle.dumps((arguments, data)))
        return pickle.loads(file.read_bytes())


@pytest.fixture(scope="session")
def arguments(drawn_study):
    return drawn_study[0]


@pytest.fixture(scope="session")
def data(drawn_study):
    return drawn_study[1]
