"""curve.csv is what training wrote: a resume and the record take no other."""

import json

import pytest
from checkpointing import sign
from corpora import write_corpus
from training import asked_to_stop, result_of, run_cell, small_cell, trained

from plm_scaling.common.errors import TrainError
from plm_scaling.common.files import sha256_of
from plm_scaling.train.output.curve import COLUMNS, CurveFile


def row(step):
    return (step, step, 1.0, "valid", 2.5, 0.1, 9.0)


def test_curve_is_cut_at_the_checkpoint_without_incomplete_lines(tmp_path):
    path = tmp_path / "curve.csv"
    curve = CurveFile(path)
    curve.begin(0)
    curve.append([row(10), row(20)])
    known = curve.sha256
    assert known == sha256_of(path)
    curve.append([row(30)])
    with path.open("a") as file:
        file.write("20,4")  # torn by a kill
    again = CurveFile(path)
    again.begin(20, known)
    rows = path.read_text().splitlines()
    assert rows[0] == ",".join(COLUMNS)
    assert [row.split(",")[0] for row in rows[1:]] == ["10", "20"]
    assert again.sha256 == sha256_of(path) == known


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def stopped(root, manifest, tmp_path):
    """A cell stopped after its third evaluation, and its curve."""
    cell = small_cell(root)
    with asked_to_stop(35), pytest.raises(SystemExit):
        run_cell(cell, manifest, tmp_path)
    return cell, result_of(cell, tmp_path).with_name("curve.csv")


def edited(lines):
    return [*lines[:-1], lines[-1].replace(lines[-1].split(",")[4], "1.5")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited, "changed or lost"),
        (lambda lines: lines[:-1], "changed or lost"),
        (lambda lines: lines[:1], "changed or lost"),
        (lambda lines: [*lines[:3], "garbage\n", *lines[3:]], "line 4: no row"),
    ],
    ids=["edited", "shortened", "emptied", "garbage"],
)
def test_resume_refuses_a_curve_that_training_did_not_write(
    manifest, tmp_path, stopped, change, message
):
    cell, path = stopped
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(TrainError, match=rf"curve\.csv.*{message}.*put the file back") as caught:
        run_cell(cell, manifest, tmp_path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert not result_of(cell, tmp_path).exists()


def test_checkpoint_of_an_earlier_version_resumes_and_warns_of_what_is_not_checked(
    manifest, tmp_path, stopped, caplog
):
    cell, path = stopped
    (record,) = path.parent.glob("checkpoints/*/checkpoint.json")
    content = json.loads(record.read_text())
    del content["position"]["curve_sha256"]
    record.write_text(json.dumps(content))
    sign(record.parent)
    result, _ = trained(cell, manifest, tmp_path)
    assert result["status"] == "finished"
    assert result["curve_sha256"] == sha256_of(path)
    assert f"{path}: its checkpoint" in caplog.text
    assert "not checked" in caplog.text


def test_record_has_the_checksum_of_what_training_wrote(root, manifest, tmp_path, monkeypatch):
    """An edit while the cell trains is not signed."""
    real, curve = CurveFile.append, {}

    def append(self, rows):
        real(self, rows)
        if rows[0][0] == 30:
            self.path.write_text(self.path.read_text().replace(",valid,", ",valid,1", 1))
        curve["path"] = self.path

    monkeypatch.setattr(CurveFile, "append", append)
    result, _ = trained(small_cell(root), manifest, tmp_path)
    assert result["curve_sha256"] != sha256_of(curve["path"])
