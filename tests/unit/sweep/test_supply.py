"""What the data give against what cells ask for, from files and from a manifest."""

from pathlib import Path

import pytest
import yaml
from corpora import write_corpus

from plm_scaling.common.errors import SweepError
from plm_scaling.config.load import validate_config
from plm_scaling.config.schema import Config
from plm_scaling.config.training import PowerLaw
from plm_scaling.study.cell import Cell
from plm_scaling.sweep.bill import bill
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.stages import Tuned
from plm_scaling.sweep.supply import Supply, check_supply, made_tokens, most_tokens
from plm_scaling.tokens.read.dataset import TokenCorpus

SHORT = """
study: short
corpora:
  mine: {mixture: {a: 0.25, b: 0.75}}
data: {sources: {a: {path: a.fa}, b: {path: b.fa}}}
tokens: {context_length: 64}
sweep:
  budgets_flops: [1e10]
  sizes: [s]
  shapes: {s: {layers: 1, hidden: 16, ffn: 42, heads: 1}}
training: {batch_tokens: [{from_parameters: 0, value: 256}], valid_rows: 30}
machine: {backend: cpu}
"""


def study(max_epochs: float = 40, **training: object) -> tuple[Config, list[Cell]]:
    values = yaml.safe_load(SHORT)
    values["training"] |= training
    values["sweep"]["max_epochs"] = max_epochs
    config = validate_config(values, "short")
    return config, [*plan_cells(config).values()]


def supply(a: float, b: float, held_out: float = 1000, exact: bool = True) -> Supply:
    rows = {"a": {"kept": a}, "b": {"kept": b}}
    tokens = {source: {"kept": 60 * own["kept"]} for source, own in rows.items()}  # of 64 a row
    return Supply(train=rows, tokens=tokens, held_out=held_out, exact=exact)


def test_supply_of_a_manifest_is_what_the_corpus_gives(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    given, corpus = made_tokens(manifest), TokenCorpus.open(manifest)
    assert given.exact
    assert given.held_out == corpus.n_held_out_rows("valid")
    for source in "ab":
        assert given.rows(source, ["kept"]) == len(corpus.rows("train", source))
        assert given.tokens[source]["kept"] == corpus.rows("train", source).tokens
        assert given.rows(source, ["redundant"]) == 0


def test_supply_of_files_bounds_what_can_come_of_them(tmp_path: Path) -> None:
    config, _ = study()
    plain, packed = tmp_path / "a.fa", tmp_path / "b.fa"
    plain.write_bytes(b">a\n" + b"M" * 6397)
    packed.write_bytes(b"\x1f\x8b" + b"x" * 6398)
    given = most_tokens({"a": [plain], "b": [packed, packed]}, config)
    assert given is not None
    assert (given.rows("a", ["kept"]), given.rows("b", ["kept"])) == (100, 1600)
    assert given.tokens == {"a": {"": 6400}, "b": {"": 102400}}
    assert given.held_out == pytest.approx(1700 * 0.02)
    assert not given.exact
    assert most_tokens({"a": [plain], "b": []}, config) is None


def test_epochs_are_those_of_the_scarcest_source() -> None:
    _, (cell, *_) = study()
    rows = cell.tokens / 64
    assert supply(rows, rows).epochs(cell) == pytest.approx(0.75)
    assert supply(rows / 10, rows).epochs(cell) == pytest.approx(2.5)
    assert supply(0, rows).epochs(cell) == float("inf")
    assert "epochs" not in bill([cell], study()[0].machine)


def test_bill_shows_the_epochs_of_every_cell() -> None:
    config, cells = study()
    lines = bill(cells, config.machine, supply=supply(100, 1e5)).splitlines()
    column = [line.split() for line in lines[:1] + lines[2 : 2 + len(cells)]]
    place = column[0].index("epochs")
    shown = [float(row[place]) for row in column[1:]]
    assert shown == pytest.approx([supply(100, 1e5).epochs(cell) for cell in cells], rel=0.01)
    atmost = bill(cells, config.machine, supply=supply(100, 1e5, exact=False))
    assert "≥" in atmost
    assert "at least, by the size of its files" in atmost


def test_held_out_rows_that_there_are_not_name_keys_and_values() -> None:
    config, cells = study(valid_rows=300)
    with pytest.raises(SweepError) as error:
        check_supply(supply(1e4, 1e4, held_out=100), cells, config)
    assert str(error.value) == (
        "training.valid_rows: 300 held-out rows are asked for, the data give 100; give "
        "training.valid_rows: 100 or split.valid_fraction: 0.072 (now 0.02; makes the data again)"
    )
    few = supply(1e4, 1e4, held_out=0.5, exact=False)
    with pytest.raises(SweepError, match="the data give at most 0; give more proteins"):
        check_supply(few, cells, config)
    for good in (study(valid_rows=100)[0], config):
        check_supply(supply(1e4, 1e4, held_out=good.training.valid_rows), cells, good)


def test_batch_that_is_larger_than_the_corpus_is_refused_with_one_that_fits() -> None:
    config, cells = study(max_epochs=1e9, batch_tokens=[{"from_parameters": 0, "value": 6400}])
    with pytest.raises(SweepError) as error:
        check_supply(supply(39, 60), cells, config)
    said = str(error.value)
    assert "training.batch_tokens: a batch of 6400 tokens (size s at 1e+10 FLOPs)" in said
    assert said.endswith("which has 6336; give 256 or fewer")
    check_supply(supply(40, 60), cells, config)


def test_batch_of_a_law_that_is_larger_than_the_corpus_names_what_gave_it() -> None:
    config, _ = study(max_epochs=1e9)
    law = PowerLaw(factor=6400, parameters=0, tokens=0)
    cells = plan_cells(Tuned(batch=law).taken(config, "clm")).values()
    with pytest.raises(SweepError, match=r"^sweep.tuning: a batch of .* has 6080; ") as error:
        check_supply(supply(35, 60), cells, config)
    said = str(error.value)
    assert "; its law gave this batch to a stage; give the corpus more proteins, or move " in said
    assert "records in results/short/stages that have a batch aside" in said
    assert said.endswith("finished cells of these stages get another batch and are trained again")


def test_cells_that_repeat_more_than_laws_know_are_warned_of() -> None:
    config, cells = study()
    rows = max(cell.tokens for cell in cells) / 64
    assert check_supply(supply(rows, 0.75 * rows / 3.9), cells, config) == []
    (line,) = check_supply(supply(rows, 0.75 * rows / 40), cells, config)
    many = f"{len(cells)} of {len(cells)} cells go through their scarcest source more than 4 times"
    assert line.startswith(many)
    assert "up to 40 times (size s at 1e+10 FLOPs)" in line
    assert "more than 4 epochs of all their data are left out by the laws isoflop, param" in line


def repeated(unique_tokens: object) -> tuple[Config, list[Cell]]:
    values = yaml.safe_load(SHORT)
    values["corpora"]["mine"]["unique_tokens"] = unique_tokens
    config = validate_config(values, "short")
    return config, [*plan_cells(config).values()]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (48_001, "12,000 unique tokens of source a are asked for, which has 6,000; give 24000 or"),
        ({"a": 6001}, "6,001 unique tokens of source a are asked for, which has 6,000; give {a: 6"),
    ],
)
def test_more_unique_tokens_than_there_are_is_refused_with_what_would_do(
    asked: object, message: str
) -> None:
    config, cells = repeated(asked)
    with pytest.raises(SweepError) as error:
        check_supply(supply(100, 1e4), cells, config)
    assert message in str(error.value)
    assert str(error.value).startswith("corpora.mine.unique_tokens: ")
    config, cells = repeated(24_000 if isinstance(asked, int) else {"a": 6000, "b": 1000})
    check_supply(supply(100, 1e4), cells, config)


def test_more_epochs_than_allowed_are_refused_unless_repeats_are_asked_for() -> None:
    config, cells = study()
    rows = max(cell.tokens for cell in cells) / 64
    few = supply(rows, 0.75 * rows / 40.5)
    with pytest.raises(SweepError) as error:
        check_supply(few, cells, config)
    assert "size s at 1e+10 FLOPs would go through corpus mine 40.5 times" in str(error.value)
    assert str(error.value).endswith("or raise sweep.max_epochs")
    config, cells = study(max_epochs=41)
    assert len(check_supply(few, cells, config)) == 1  # warned of
    on_purpose, cells = repeated({"b": 1000})
    check_supply(few, cells, on_purpose)


def test_source_without_a_row_to_train_on_is_named() -> None:
    config, cells = study()
    with pytest.raises(SweepError, match=r"corpora\.mine\.mixture: source a has no training row"):
        check_supply(supply(0, 1e5), cells, config)
