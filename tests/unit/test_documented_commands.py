"""Commands that the documentation shows: each can be given, and the cheap ones are given here."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import yaml
from snakemake.cli import parse_args
from workflows import TARGETS, Workflow

from plm_scaling.cli.main import app, main
from plm_scaling.cli.planning import design
from plm_scaling.common.command_line import parse
from plm_scaling.design import choose

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")]
PAGES += sorted(ROOT.glob("docs/*.md"))
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SHELL = ("", "sh", "console")
INDENTED = re.compile(r"(?<=\n\n)(?:    \S.*\n(?:        .*\n)*)+")
INLINE = re.compile(r"(?<!`)`((?:plm-scaling|snakemake|make|python|pytest) [^`]+)`(?!`)")
# Of others: what they take is theirs to say. An unknown one is to be looked at.
OTHERS = {"source", "git", "cd", "pip", "hf", "tensorboard", "wandb", "docker", "apptainer", "ssh"}
OTHERS |= {"mkdir", "cp", "zcat", "kubectl", "pre-commit", "jq", "head"}
PROGRAMS = {"plm-scaling", "snakemake", "make", "python", "pytest"}
PLACEHOLDERS = {"LAW": "isoflop", "PROFILE": "profiles/local", "TARGET": "laws", "8xNAME": "8xH100"}
PLACEHOLDERS["TABLE"] = "table.csv"
FOR_CLUSTERS = {"slurm", "lsf", "pbs", "sge", "kubernetes"}
MARK = "needs a cluster"  # in a comment beside the command, or of all on the page
PLANS = "plm-scaling plan "


def blocks(text):
    """Lines of code blocks that a shell would take: with a prompt where the block has prompts."""
    found = [body for language, body in FENCED.findall(text) if language in SHELL]
    found += INDENTED.findall(FENCED.sub("\n", text))
    for body in found:
        lines = re.sub(r" *\\\n\s*", " ", body).splitlines()
        prompts = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
        yield from prompts or [line.strip() for line in lines]


def program(line):
    """The name of what a line starts, without its folder, settings and `nice`; '' of no command."""
    words = re.sub(r"^(?:\w+=\S+ |nice -n \d+ )*", "", line).split(" ")
    return words[0].removeprefix(".venv/bin/") if words else ""


def given(line):
    """Programs with their words: of a line of several commands each, without comments."""
    line = re.sub(r"^(?:\w+=\S+ |nice -n \d+ )*", "", line)
    for part in re.split(r" (?:&&|\|) (?=[\w./-]+ )", line):
        words = shlex.split(part, comments=True)
        if words:
            yield words[0].removeprefix(".venv/bin/"), words[1:]


def commands():
    """(page, line, program, words) of all pages."""
    for page in PAGES:
        text = page.read_text()
        lines = [line for line in blocks(text) if program(line) in PROGRAMS | OTHERS]
        lines += [" ".join(span.split()) for span in INLINE.findall(text)]
        for line in lines:
            for name, words in given(line.replace("<", "").replace(">", "")):
                yield page, line, name, [PLACEHOLDERS.get(word, word) for word in words]


COMMANDS = list(commands())


def of(name):
    own = [(page, line, words) for page, line, other, words in COMMANDS if other == name]
    assert own
    return own


def test_every_program_of_the_pages_is_known():
    assert {name for _, _, name, _ in COMMANDS} <= PROGRAMS | OTHERS
    assert len(COMMANDS) > 100


def names_of_commands(group=app, words=()):
    yield list(words)
    for name in group:
        if not name.startswith("-"):
            yield from names_of_commands(group[name], (*words, name))


def test_plm_scaling_is_given_what_it_takes(capsys):
    known = list(names_of_commands())
    for page, line, words in of("plm-scaling"):
        shown = words[: words.index("…")] if "…" in words else words
        if shown in known or shown[0].startswith("--"):
            continue  # only named; or of the whole program
        if "…" in words:
            assert any(shown[: len(name)] == name for name in known if name), f"{page.name}: {line}"
            continue
        try:
            parse(app, words)
        except SystemExit:
            pytest.fail(f"{page.name}: {line}\n{capsys.readouterr().err}")


def test_snakemake_is_given_options_profiles_and_targets_that_it_has(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    different = {tuple(words): (page, line, words) for page, line, words in of("snakemake")}
    for page, line, words in different.values():
        try:
            _, found = parse_args(["config.yaml" if word == "…" else word for word in words])
        except SystemExit:
            pytest.fail(f"{page.name}: {line}\n{capsys.readouterr().err}")
        targets = [str(target) for target in found.targets if "/" not in str(target)]
        assert {*targets} <= TARGETS, f"{page.name}: {line}"
        missing = [word for word in words if word.startswith(("config/", "profiles/"))]
        assert not [word for word in missing if not Path(word).exists()], f"{page.name}: {line}"


def test_what_needs_a_cluster_says_so():
    for page, line, words in of("snakemake") + of("plm-scaling"):
        profiles = {Path(word).name for word in words} if "--profile" in words else set()
        if profiles & FOR_CLUSTERS or "check-site" in words:
            beside = line.partition("#")[2]
            assert MARK in beside or MARK in page.read_text(), f"{page.name}: {line}"


def test_targets_of_make_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, line, words in of("make"):
        assert {word for word in words if "=" not in word} <= targets, f"{page.name}: {line}"


def test_scripts_exist_and_have_the_options():
    for page, line, words in of("python"):
        if not words:
            continue
        if words[0] == "-m":
            module = ROOT / "src" / words[1].replace(".", "/")
            assert module.with_suffix(".py").is_file(), f"{page.name}: {line}"
            continue
        text = (ROOT / words[0]).read_text()
        for option in [word.removeprefix("--") for word in words if word.startswith("--")]:
            assert re.search(rf"\b{option.replace('-', '[-_]')}\b", text), f"{page.name}: {line}"


def test_plans_and_fits_of_the_pages_can_be_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = pd.read_csv(ROOT / "resources/published/tables/runs.csv")
    runs[runs["objective"] == "clm"].to_csv("my-runs.csv", index=False)
    fits = [line for _, line, words in of("plm-scaling") if "my-runs.csv" in words]
    plans = [line for _, line, words in of("plm-scaling") if line.startswith(PLANS) and words[1:]]
    chosen = [line for line in dict.fromkeys([*fits, *plans]) if "NAME" not in line]
    assert len(chosen) > 3
    for line in chosen:
        monkeypatch.setattr("sys.argv", shlex.split(line, comments=True))
        main()
        assert capsys.readouterr().out, line


def test_plans_print_what_the_pages_show(tmp_path, monkeypatch, capsys):
    shown = [
        (page.name, body.splitlines())
        for page in PAGES
        for _, body in FENCED.findall(page.read_text())
        if body.startswith(f"$ {PLANS}")
    ]
    assert shown
    monkeypatch.chdir(tmp_path)
    for name, (command, *lines) in shown:
        monkeypatch.setattr("sys.argv", shlex.split(command.removeprefix("$ ")))
        main()
        printed = capsys.readouterr().out.splitlines()
        expected = [line for line in lines if line.strip() != "…"]
        assert len(expected) > 5
        assert not [line for line in expected if line not in printed], name


@pytest.mark.slow
def test_designs_of_the_pages_and_of_help_can_be_made(tmp_path, monkeypatch, capsys):
    """With few simulated sweeps: what is asked can be had for what is given."""
    monkeypatch.setattr(choose, "DRAWS", range(6))
    monkeypatch.setattr(choose, "MORE", range(6, 12))
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("config.yaml").symlink_to(ROOT / "config.yaml")
    tmp_path.joinpath("config").mkdir()
    lines = [line for _, line, words in of("plm-scaling") if words[0] == "design" and words[1:]]
    lines += re.findall(r"Example: (plm-scaling design .*)", design.__doc__)
    chosen = list(dict.fromkeys(line for line in lines if "PATH" not in line))
    assert len(chosen) > 2
    for line in chosen:
        monkeypatch.setattr("sys.argv", shlex.split(line, comments=True))
        main()
        assert "budgets_flops" in capsys.readouterr().out or "--out" in line


@pytest.mark.slow
def test_targets_of_the_pages_are_planned_for_the_demo(root, tmp_path):
    """All in one dry run, which costs what one of them costs."""
    config = yaml.safe_load((root / "config/demo.yaml").read_text())
    workflow = Workflow(root, tmp_path, config)
    wanted = {word for _, _, words in of("snakemake") for word in words if word in TARGETS}
    wanted -= {
        "download",
        "downstream",
    }  # the demo's sources are files; none of its cells is trained
    assert len(wanted) > 5
    jobs = workflow.planned(*sorted(wanted))
    assert jobs["train_cell"] > 5
    assert jobs["make_published_report"] == 1
