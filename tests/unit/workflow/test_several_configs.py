"""docs/running.md: a study that is two files, the second of which changes the first."""

import re
from pathlib import Path

import pytest
from snakemake.cli import get_argument_parser

from plm_scaling.config.load import read_study
from plm_scaling.workflow.command import configs_of, snakemake_command


@pytest.fixture
def files(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of the example, in the order of its command."""
    text = (root / "docs/running.md").read_text()
    shown = re.findall(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name, block in shown:
        Path(name).write_text(block)
    (words,) = re.findall(r"^    plm-scaling run \S+ -- (--configfile .*)$", text, re.MULTILINE)
    found = configs_of(words.split(), Path("no.yaml"))
    assert [path.name for path in found] == [name for name, _ in shown]
    return found


def test_second_file_changes_the_first_and_replaces_its_sweep(files: list[Path]) -> None:
    base, _ = read_study(files[:1], {})
    both, said = read_study(files, {"training": {"evaluations": 10}})
    assert (base.study, both.study) == ("base", "prenorm")
    assert base.data == both.data
    assert base.corpora == both.corpora
    assert (base.training.evaluations, both.training.evaluations) == (20, 10)
    assert (base.sweep.recipes, both.sweep.recipes) == (["study"], ["prenorm"])
    assert "base.yaml prenorm.yaml: sweep is that of prenorm.yaml alone" in said


def test_files_are_those_that_snakemake_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("mine/config.yaml")
    assert configs_of((), own) == [own]
    assert configs_of(("train", "--cores", "2"), own) == [own]
    words = ("train", "--configfile", "a.yaml", "b.yaml", "--cores", "2")
    assert configs_of(words, own) == [Path("a.yaml"), Path("b.yaml")]
    own.parent.mkdir()
    own.touch()
    command = snakemake_command(own.parent, words, None, "local", dry=False)
    assert command.count("--configfile") == 1
    for option in ("--configfile=a.yaml", "--configfiles=a.yaml"):
        words = ("--configfile", "b.yaml", "c.yaml", option, "--cores", "2")
        read = get_argument_parser().parse_args(words).configfile
        assert configs_of(words, own) == read == [Path("a.yaml")]
        command = snakemake_command(own.parent, words[3:], None, "local", dry=False)
        assert "--configfile" not in command
