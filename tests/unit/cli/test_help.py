"""`plm-scaling --help`, its examples and `--version`: of every command, at once, and true."""

import re
import shlex
import subprocess
import sys

import pytest

from plm_scaling import __version__
from plm_scaling.cli import version
from plm_scaling.cli.main import app, main
from plm_scaling.common.command_line import parse

LIGHT = """
import sys
from plm_scaling.cli.main import app
for command in sys.argv[1:]:
    app([*command.split(), "--help"], result_action="return_value")
heavy = {"torch", "megatron", "pyarrow", "pandas", "numpy", "pydantic"}
print(sorted(heavy & sys.modules.keys()))
"""


def below(group, *words):
    """The words of a group, of its groups and of all their commands, with what is called."""
    yield " ".join(words), group
    for name in group:
        if not name.startswith("-"):
            yield from below(group[name], *words, name)


COMMANDS = dict(below(app))


def said(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["plm-scaling", *words])
    main()
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_example_in_the_help_is_a_command_that_can_be_given(monkeypatch, capsys, command):
    monkeypatch.setenv("COLUMNS", "200")
    text = said(monkeypatch, capsys, *command.split(), "--help")
    examples = re.findall(r"^Example: (.*?) *$", text, re.MULTILINE)
    assert examples
    for example in examples:
        program, *words = shlex.split(example)
        assert program == "plm-scaling"
        assert " ".join(words).startswith(command)
        call, _ = parse(app, words)
        known = [one.default_command for one in COMMANDS.values()]
        assert call in known
        assert call == COMMANDS[command].default_command or len(list(COMMANDS[command])) > 2


def test_help_of_run_names_every_target(monkeypatch, capsys, root):
    monkeypatch.setenv("COLUMNS", "200")
    (targets,) = re.findall(
        r"^TARGETS = \{$(.*?)^\}$", (root / "Snakefile").read_text(), re.M | re.S
    )
    text = said(monkeypatch, capsys, "run", "--help")
    for target in re.findall(r'^    "(\w+)":', targets, re.MULTILINE):
        assert re.search(rf"\b{target}\b", text.partition("targets: ")[2]), target


def test_option_for_several_names_takes_them_one_after_the_other():
    words = "figures results/demo --only isoflop frontier --out paper"
    assert parse(app, words.split())[1].kwargs["only"] == ["isoflop", "frontier"]


def test_help_lists_every_command(monkeypatch, capsys):
    text = said(monkeypatch, capsys, "--help")
    assert all(f" {command.split()[0]} " in text for command in COMMANDS if command)


def test_every_command_that_answers_can_answer_in_json():
    # The first two print where their folder is; `run` is Snakemake, `watch` a page.
    silent = {"export", "import", "run", "watch"}
    commands = {name: one for name, one in COMMANDS.items() if one.default_command}
    without = {
        name
        for name, one in commands.items()
        if not any("--json" in option.names for option in one.assemble_argument_collection())
    }
    assert without == silent


def test_version_is_the_packages_and_in_a_clone_the_commits(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(version, "ROOT", tmp_path)
    assert said(monkeypatch, capsys, "--version").strip() == __version__
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "file").touch()
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.check_output([*git, "rev-parse", "--short=10", "HEAD"], text=True).strip()
    assert said(monkeypatch, capsys, "--version").strip() == f"{__version__} (commit {commit})"
    (tmp_path / "file").write_text("changed")
    assert f"(commit {commit}-dirty)" in said(monkeypatch, capsys, "--version")


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT, *COMMANDS], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("words", [["nope"], ["fit"], ["plan", "--objective", "x"]])
def test_wrong_command_line_is_one_line(monkeypatch, capsys, words):
    with pytest.raises(SystemExit) as ended:
        said(monkeypatch, capsys, *words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "endings"),
    [
        ("score MODEL a.fasta --out a.xyz", ".csv, .tsv, .parquet or .arrow"),
        ("embed MODEL a.fasta --out a", ".csv, .tsv, .parquet or .arrow"),
        ("evaluate MODEL fitness_small --out a.txt", ".csv, .tsv, .parquet or .arrow"),
        ("judge a.fasta --against b.fasta --out a.xls", ".csv, .tsv, .parquet or .arrow"),
        ("fit isoflop --runs a.csv --out a.csv", ".json"),
        ("plan --flops 1e21 --plot a.jpg", ".svg, .pdf or .png"),
        ("plan --flops 1e21 --html a.svg", ".html"),
        ("design --out a.json", ".yaml or .yml"),
        ("check-site --out a.txt", ".yaml or .yml"),
    ],
)
def test_output_of_another_ending_is_refused_as_the_words_are_read(capsys, words, endings):
    with pytest.raises(SystemExit) as ended:
        parse(app, words.split())
    assert ended.value.code == 2
    assert f"the name must end in {endings} (see --help)\n" in capsys.readouterr().err
