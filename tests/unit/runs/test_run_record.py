"""result.json and sweep.tsv, also those of earlier versions and damaged ones."""

import json
import subprocess
import sys
from dataclasses import fields

import pytest
from cell_fixtures import cell_of, record_of

from plm_scaling.common.errors import RunsError, SweepError
from plm_scaling.common.files import write_json
from plm_scaling.study.record import RunRecord, read_cell, read_finished
from plm_scaling.study.shapes import Shape
from plm_scaling.study.sweep_table import read_sweep, write_sweep

CELL = cell_of("mlm", Shape(2, 24, 40, 3))
FIRST_VERSION = (
    *("cell", "status", "reason", "loss", "loss_last", "n_evals", "steps", "tokens"),
    *("unique_tokens", "flops", "wall_seconds", "tokens_per_second", "config", "versions"),
)


@pytest.fixture
def path(tmp_path):
    write_json(tmp_path / "result.json", record_of(CELL).to_json())
    return tmp_path / "result.json"


def test_record_read_back_is_the_same(path):
    assert RunRecord.read(path) == record_of(CELL)
    assert read_finished(path) == (record_of(CELL), CELL)


def test_record_of_the_first_version_is_read_with_absent_values_missing(path):
    whole = json.loads(path.read_text())
    old = {name: whole[name] for name in FIRST_VERSION} | {"manifest_sha256": "0"}
    old["config"] = {"objective": "mlm"}  # its cells had fewer fields
    write_json(path, old)
    record = RunRecord.read(path)
    assert (record.tokens, record.loss, record.config) == (CELL.tokens, 2.5, {"objective": "mlm"})
    later = {field.name for field in fields(RunRecord)} - set(FIRST_VERSION)
    assert {getattr(record, name) for name in later} == {None}
    with pytest.raises(RunsError, match="of this version"):
        read_cell(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "ok"}, "key status is 'ok'"),
        ({"tokens": None}, "key tokens is None"),
        ({"tokens": ...}, r"missing: tokens"),
        ({"cell": "0123456789"}, "put together by hand"),
        ({"status": "diverged", "reason": "loss 9"}, r"the run diverged \(loss 9\)"),
    ],
)
def test_unusable_record_is_refused_naming_file_and_key(path, changes, message):
    values = json.loads(path.read_text()) | changes
    write_json(path, {name: value for name, value in values.items() if value is not ...})
    with pytest.raises(RunsError, match=message) as caught:
        read_finished(path)
    assert str(path.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sweep_of_an_earlier_version_is_read_with_absent_values_missing(tmp_path):
    path = tmp_path / "sweep.tsv"
    write_sweep({"one": CELL}, path)
    header, row = (line.split("\t") for line in path.read_text().splitlines())
    later = header[header.index("initialisation") :]
    kept = [i for i, name in enumerate(header) if name not in ("masking", "recipe", *later)]
    lines = ["\t".join(line[i] for i in kept) for line in (header, row)]
    path.write_text("\n".join([*lines, ""]))
    cell = read_sweep(path)["one"]
    assert (cell.masking, cell.recipe, cell.mixture) == (None, None, CELL.mixture)
    assert (cell.initialisation, cell.document_mask) == ("normal", True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("\ttokens\t", "\ttoken\t"), r"missing: tokens"),
        (lambda text: text.splitlines(keepends=True)[0], "no cell in it"),
        (lambda text: text.replace("\t2560\t", "\tmany\t"), "cell one, column tokens: 'many'"),
        (lambda text: text[: text.index("0.15")], "cell one, column"),
    ],
)
def test_unusable_sweep_is_refused_in_one_line(tmp_path, damage, message):
    path = tmp_path / "sweep.tsv"
    with pytest.raises(SweepError, match=r"sweep\.tsv: no such sweep"):
        read_sweep(path)
    write_sweep({"one": CELL}, path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(SweepError, match=message) as caught:
        read_sweep(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_records_and_status_are_read_without_torch_and_pandas():
    code = (
        "import sys, plm_scaling.study.record, plm_scaling.runs.status; "
        "print([name for name in ('torch', 'megatron', 'pandas') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
