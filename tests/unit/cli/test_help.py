"""`plm-scaling --help` and `--version`: of every command, at once, and true."""

import subprocess
import sys

import pytest

from plm_scaling import __version__
from plm_scaling.cli.main import main

COMMANDS = [
    *(
        "init",
        "status",
        "check-site",
        "summary",
        "fit",
        "plan",
        "design",
        "export",
        "import",
        "score",
        "embed",
    ),
    *("generate", "judge"),
    *("data check", "data tokenize", "data inspect"),
]
LIGHT = """
import sys
from plm_scaling.cli.main import app
for command in ["", *sys.argv[1:]]:
    app([*command.split(), "--help"], result_action="return_value")
heavy = {"torch", "megatron", "pyarrow", "pandas", "numpy", "pydantic"}
print(sorted(heavy & sys.modules.keys()))
"""


def said(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["plm-scaling", *words])
    main()
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(monkeypatch, capsys, command):
    text = said(monkeypatch, capsys, *command.split(), "--help")
    assert f"plm-scaling {command}" in text.split("Example: ")[1]


def test_help_lists_every_command(monkeypatch, capsys):
    text = said(monkeypatch, capsys, "--help")
    assert all(f" {command.split()[0]} " in text for command in COMMANDS)


def test_version_is_the_packages(monkeypatch, capsys):
    assert said(monkeypatch, capsys, "--version").strip() == __version__


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT, *COMMANDS], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("words", [["nope"], ["fit"], ["plan", "--objective", "x"]])
def test_wrong_command_line_is_one_line(monkeypatch, capsys, words):
    with pytest.raises(SystemExit) as ended:
        said(monkeypatch, capsys, *words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
