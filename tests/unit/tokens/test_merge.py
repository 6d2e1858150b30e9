"""A manifest lists the shards of all parts, or says what is wrong with them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpora import write_corpus, write_tokens
from pools import make_pool
from selections import select

from plm_scaling.common.errors import TokenError
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.tokens.write.merge import merge_tokens


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged")
    write_corpus(folder)
    return folder


@pytest.fixture
def folder(corpus: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(corpus, tmp_path / "copy")
    (tmp_path / "copy/tokens/manifest.json").unlink()
    return tmp_path / "copy"


def merge(folder: Path) -> Path:
    out = folder / "tokens/manifest.json"
    report, thresholds = folder / "contamination.json", folder / "filter/thresholds.json"
    merge_tokens(folder / "tokens", report, thresholds, out)
    return out


def change_part(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "tokens/protein/part-0001/part.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))
    return path


def test_merge_gives_the_same_manifest_again(corpus: Path, folder: Path) -> None:
    assert merge(folder).read_bytes() == (corpus / "tokens/manifest.json").read_bytes()


def test_merge_totals_are_sums(folder: Path) -> None:
    manifest = json.loads(merge(folder).read_text())
    train = manifest["splits"]["train"]
    assert train["sequences"] == 600 == sum(s["sequences"] for s in train["sources"].values())
    assert manifest["splits"]["valid"]["sequences"] == 120
    assert train["rows"] * 64 == train["tokens"] + train["padding_tokens"]


def test_merge_proteins_and_code_are_one_corpus(folder: Path) -> None:
    documents = [(str(i), f"x = {i}\r") for i in range(20)]
    pool = make_pool(folder, {"code": documents}, parts=4, kind="code")
    select(pool, folder / "filter_code", lambda _: ("train", "kept"))
    shutil.move(folder / "filter", folder / "filter_protein")
    shutil.copytree(folder / "filter_code", folder / "filter")
    opened = TokenCorpus.open(write_tokens(folder, pool))
    sources = opened.manifest["splits"]["train"]["sources"]
    assert {name: entry["kind"] for name, entry in sources.items()} == {
        "a": "protein", "b": "protein", "code": "code",
    }  # fmt: skip
    rows = opened.train_rows({"a": 0.5, "code": 0.5}, seed=1)
    assert rows.rows_of(100) == {"a": 50, "code": 50}


@pytest.mark.parametrize("content", ['{"passed": false}', "{}", None])
def test_merge_contaminated_split_is_refused(folder: Path, content: str | None) -> None:
    report = folder / "contamination.json"
    report.unlink() if content is None else report.write_text(content)
    with pytest.raises(TokenError, match=r"contamination\.json reports no check"):
        merge(folder)
    assert not (folder / "tokens/manifest.json").exists()


def test_merge_missing_part_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "tokens/protein/part-0001")
    with pytest.raises(TokenError, match="protein part 1 is missing"):
        merge(folder)


def test_merge_nothing_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "tokens/protein")
    with pytest.raises(TokenError, match="holds no part"):
        merge(folder)


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("context_length", 32),
        ("corpus", "other"),
        ("format", "plm-scaling tokens 1"),
        ("vocabulary_sha256", "0"),
        ("parts", 4),
    ],
)
def test_merge_parts_that_differ_are_refused(folder: Path, what: str, value: object) -> None:
    change_part(folder, lambda facts: facts.update({what: value}))
    with pytest.raises(TokenError, match=r"part-0001.*(is|version)|cut into \[2, 4\] parts"):
        merge(folder)


def test_merge_damaged_part_file_is_named(folder: Path) -> None:
    change_part(folder, lambda facts: facts.pop("entries"))
    with pytest.raises(TokenError, match=r"part-0001/part\.json is no part.*entries"):
        merge(folder)
    (folder / "tokens/protein/part-0001/part.json").write_text("{")
    with pytest.raises(TokenError, match=r"part-0001/part\.json is no part"):
        merge(folder)
