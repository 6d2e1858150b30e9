"""What --out may be, known before a command begins."""

import os

import pytest
from cyclopts import ValidationError

from plm_scaling.cli.main import app
from plm_scaling.common.files import EXISTS

MAKING = {
    "export": ["export", "cell", "--to", "hf"],
    "import": ["import", "folder", "--from", "proteinglm"],
    "tokenize": ["data", "tokenize", "a.faa", "--context-length", "64"],
}


def parsed(command, out):
    app.parse_args([*command, "--out", str(out)], exit_on_error=False, print_error=False)


def test_figures_go_into_a_folder_that_is_there_whatever_is_around_it(tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path == own)  # root may anything
    for out in (own, own / "new"):
        parsed(["figures", "results/x"], out)
    with pytest.raises(ValidationError, match="nothing can be written in"):
        parsed(["figures", "results/x"], tmp_path / "new")


@pytest.mark.parametrize("name", MAKING)
def test_folder_to_be_made_that_is_there_is_refused_as_such(tmp_path, monkeypatch, name):
    own = tmp_path / "own"
    own.mkdir()
    parsed(MAKING[name], own / "new")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValidationError, match=f"it {EXISTS}"):
        parsed(MAKING[name], own)
    with pytest.raises(ValidationError, match=f"nothing can be written in {own}"):
        parsed(MAKING[name], own / "new")


@pytest.mark.parametrize("command", [*MAKING.values(), ["figures", "results/x"]])
@pytest.mark.parametrize("name", ["link/new", 256 * "x"])
def test_out_that_no_folder_can_be_made_at_is_refused(tmp_path, command, name):
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(ValidationError, match="it cannot be made: "):
        parsed(command, tmp_path / name)
