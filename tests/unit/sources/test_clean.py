from pathlib import Path

import pandas as pd
import pytest

from plm_scaling.errors import SourceError
from plm_scaling.sources import unique
from plm_scaling.sources.clean import clean_source


def clean(tmp_path: Path, content: bytes) -> tuple[bytes, pd.DataFrame]:
    fasta = tmp_path / "in.fasta"
    fasta.write_bytes(content)
    clean_source("demo", fasta, tmp_path / "out.fasta", tmp_path / "counts.tsv")
    table = pd.read_csv(tmp_path / "counts.tsv", sep="\t").set_index("reason")
    return (tmp_path / "out.fasta").read_bytes(), table


def test_clean_unusual_records_are_mended_and_counted(tmp_path: Path) -> None:
    text = b">sp|P1|A_B x\r\nmkv\r\nAC\r\n>b\nACD*\n>c\nMK\n"
    cleaned, table = clean(tmp_path, text)
    assert cleaned == b">P1\nMKVAC\n>b\nACD\n>c\nMK\n"
    counted = {reason: tuple(row) for reason, row in table[["sequences", "residues"]].iterrows()}
    assert counted == {
        "in": (3, 10),
        "handled:lower_case": (1, 5),
        "handled:trailing_star": (1, 3),
        "handled:windows_line_ends": (1, 5),
        "kept": (3, 10),
    }


@pytest.mark.parametrize("n_between", [0, 5000])
def test_clean_duplicate_id_is_named(tmp_path: Path, n_between: int) -> None:
    between = b"".join(b">n%d\nMK\n" % i for i in range(n_between))
    with pytest.raises(SourceError) as raised:
        clean(tmp_path, b">a\nMK\n>same\nMK\n" + between + b">same other\nAC\n")
    for word in ("in.fasta", "'same'", "records 2 and", str(3 + n_between)):
        assert word in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.fasta"]


def test_clean_equal_hashes_of_different_ids_are_no_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unique, "hash", len, raising=False)
    _, table = clean(tmp_path, b">aa\nMK\n>bb\nMK\n>c\nMK\n")
    assert table.sequences["kept"] == 3
    with pytest.raises(SourceError, match="'aa' occurs twice"):
        clean(tmp_path, b">aa\nMK\n>bb\nMK\n>aa\nMK\n")


@pytest.mark.parametrize("content", [b"", b">a\nMK\n>b\n", b">a\nM?K\n"])
def test_clean_bad_input_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError):
        clean(tmp_path, content)
    assert [path.name for path in tmp_path.iterdir()] == ["in.fasta"]
