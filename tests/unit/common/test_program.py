"""What programs and commands say and return."""

import errno
import json
import logging
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from plm_scaling.common.command_line import command_line, read_options
from plm_scaling.common.errors import line_of
from plm_scaling.common.program import start_logging
from plm_scaling.common.progress import full_number, short_bytes, short_number, short_time

PROGRAM = """
import os
import signal
from pathlib import Path
from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import write_json
from plm_scaling.common.program import run

def work(kind: str, out: Path | None = None) -> None:
    if out is not None:
        write_json(out, kind)
    if kind == "ours":
        raise SourceError("a.fasta: empty; fetch it again")
    if kind == "other":
        raise ZeroDivisionError("oh")
    if kind == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)

run(work)
"""


COLLECTED = """
import atexit
import gc
from plm_scaling.common.program import run

def looked_at() -> int:
    return len(gc.get_objects())

def work() -> None:
    print(gc.get_freeze_count() > 10 * looked_at())

atexit.register(lambda: print(looked_at() < 10))  # called last
run(work)
"""


def test_the_collector_leaves_what_the_imports_made_and_at_the_end_everything():
    done = subprocess.run([sys.executable, "-c", COLLECTED], capture_output=True, text=True)
    assert done.stdout == "True\nTrue\n", done.stderr


def test_a_full_disk_prints_no_traceback_for_each_line_of_the_log(capsys):
    start_logging(Path("/dev/full"))
    logging.getLogger("plm_scaling").info("a line")
    assert capsys.readouterr().err == "a line\n"
    logging.getLogger("plm_scaling").handlers.clear()


HELP = """
import contextlib, io, json, runpy, sys
from pathlib import Path

libraries, *programs = sys.argv[1:]
for program in programs:
    sys.argv, output = [program, "--help"], io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        assert not end.code, program
    assert "--log" in output.getvalue(), program
    found = [library for library in libraries.split() if library in sys.modules]
    print(json.dumps([Path(program).stem, found]))
from importlib import import_module
from plm_scaling.downstream.tasks import TASKS  # which prepare_task imports for its dataset
for task in TASKS.values():
    import_module(task.module)
print(json.dumps(["tasks", [name for name in ("torch", "megatron") if name in sys.modules]]))
"""
# Large libraries that a program may import as it starts, beside those of the lines before its own:
# each job pays for them, and on a cluster's file system many times over.
IMPORTS = {
    "": "fetch_source fetch_published verify_source verify_files plan_sweep record_config",
    "pyarrow pandas": (
        "clean_source pool_part deduplicate split_clusters check_contamination train_reference "
        "score_part select_sequences select_documents tokenize_part merge_tokens collect_runs "
        "fetch_task prepare_task write_tests expose_task collect_downstream import_published "
        "fit_law"
    ),
    "scipy": (
        "judge_proteins measure_proteins show_plan place_stage collect_forecasts "
        "forecast_published fit_published_law fit_downstream make_report make_published_report"
    ),
    "matplotlib": "draw_figures draw_downstream draw_published_figures",
    # Other tests run these.
    "torch megatron": "evaluate_model generate_proteins make_untrained train_cell",
}


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True
    )


def test_program_that_succeeds_exits_with_0_and_prints_nothing(tmp_path):
    done = run("--kind", "none", "--log", tmp_path / "log")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_program_error_is_one_line_and_the_traceback_is_in_the_log(tmp_path):
    done = run("--kind", "ours", "--log", tmp_path / "logs/log")
    assert done.returncode == 1
    assert done.stderr == "error: a.fasta: empty; fetch it again\n"
    assert "Traceback" in (tmp_path / "logs/log").read_text()


@pytest.mark.parametrize("option", ["--out", "--log"])
@pytest.mark.parametrize("folder", [".", "..", "made"])
def test_output_that_is_a_folder_is_one_line(tmp_path, option, folder):
    (tmp_path / "made").mkdir()
    command = [sys.executable, "-c", PROGRAM, "--kind", "none", option, folder]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {folder} is a folder; ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.rglob("*")) == [tmp_path / "made"]


def test_program_unexpected_error_names_the_log(tmp_path):
    done = run("--kind", "other", "--log", tmp_path / "log")
    assert done.returncode == 1
    assert done.stderr == f"error: ZeroDivisionError: oh (traceback in {tmp_path / 'log'})\n"


def test_program_interrupted_prints_nothing_and_dies_of_the_signal(tmp_path):
    done = run("--kind", "interrupt", "--log", tmp_path / "log")
    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""


@dataclass(frozen=True)
class Machine:
    threads: int
    """CPU threads"""
    scratch: Path | None = None


class Limits(BaseModel):
    least: int = Field(gt=0)
    edges: list[float] = []


def work(
    limits: Limits,
    machine: Machine,
    names: list[str],
    out_file: Path,
    more: Sequence[Path] = (),
    start: Path | None = None,
    level: float = 0.5,
    times: int | None = None,
    counts: Sequence[int] = (),
    again: bool = False,
    draw: Callable[..., None] | None = None,
) -> None:
    """Work.

    Args:
        names: of what is worked on
    """


GIVEN = {"limits": '{"least": 3, "edges": [1, 2]}', "threads": "2", "names": "a", "out-file": "x"}


def asked(*words, **changed):
    """What `work` is called with; options of the command line as GIVEN, changed, and further."""
    options = {name.replace("_", "-"): text for name, text in {**GIVEN, **changed}.items()}
    line = [word for name, text in options.items() if text for word in (f"--{name}", text)]
    return read_options(work, [*line, *words])[1].arguments


def test_options_are_what_the_signature_declares():
    found = asked("--more", "b c", "[d]", "--start", "--level", "1e-3", names="'quoted' $(name)")
    assert found == {
        "limits": Limits(least=3, edges=[1, 2]),
        "machine": Machine(2),
        "names": ["'quoted' $(name)"],
        "out_file": Path("x"),
        "more": [Path("b c"), Path("[d]")],
        "level": 1e-3,
    }


@pytest.mark.parametrize("words", [["--more"], ["--start", "--more"], ["--scratch", "", "--more"]])
def test_option_without_value_is_as_if_it_were_not_given(words):
    """As rules pass a list that is empty and a file that there is not."""
    assert asked(*words) == asked()


@pytest.mark.parametrize(
    "words", [["--again"], ["--again", "--level", "0.5"], ["--again", "--more"]]
)
def test_flag_is_true_wherever_it_stands(words):
    assert asked(*words)["again"]


@pytest.mark.parametrize(
    ("words", "changed", "message"),
    [
        ([], {"out_file": ""}, "--out-file requires an argument"),
        (["--outfile", "x"], {"out_file": ""}, "--out-file instead of --outfile"),
        ([], {"threads": "two"}, '--threads: unable to convert "two"'),
        ([], {"threads": "1.5"}, '--threads: unable to convert "1.5"'),
        (["--times", "1.5"], {}, '--times: unable to convert "1.5"'),
        (["--counts", "1", "2.5"], {}, '--counts: unable to convert "2.5"'),
        (["y"], {}, "'y'"),
        (["--names"], {"names": ""}, "--names"),
        (["--draw", "x"], {}, "--draw"),
        ([], {"limits": '{"least": 0}'}, "--limits: least: Input should be greater than 0"),
        ([], {"limits": '{"least": 1'}, "--limits: Invalid JSON"),
    ],
)
def test_wrong_option_is_named_in_one_line(capsys, words, changed, message):
    with pytest.raises(SystemExit) as ended:
        asked(*words, **changed)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_no_option_at_all_is_one_line_too(capsys):
    with pytest.raises(SystemExit):
        read_options(work, [])
    said = capsys.readouterr().err
    assert "requires an argument" in said
    assert said.count("\n") == 1


def test_every_program_in_scripts_explains_itself_and_imports_what_it_needs(root):
    """In one process, those that need least first."""
    programs = {path.stem: path for path in (root / "scripts").glob("*.py")}
    assert sorted(" ".join(IMPORTS.values()).split()) == sorted(programs)
    assert all(len(path.read_text().splitlines()) <= 40 for path in programs.values())
    *lines, training = IMPORTS.values()
    silent = [
        name for name in training.split() if "import_megatron()" in programs[name].read_text()
    ]
    assert silent == training.split()
    started = [programs[name] for name in " ".join(lines).split()]
    large = [*" ".join(IMPORTS).split(), "transformers", "sklearn", "snakemake"]
    command = [sys.executable, "-c", HELP, " ".join(large), *started]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    imported = dict(map(json.loads, done.stdout.splitlines()))
    assert imported["tasks"] == []
    allowed: set[str] = set()
    for libraries, names in IMPORTS.items():
        allowed |= set(libraries.split())
        for name in names.split():
            assert set(imported.get(name, [])) <= allowed, name


def test_every_rule_passes_what_its_program_takes(root):
    """A flag that is renamed in one place only fails here, not after days of a run."""
    rule = re.compile(r'script=script\("(\w+)"\),\n(?:.*\n)*? +shell:\n((?: {8,}".*\n)+)')
    texts = [path.read_text() for path in sorted((root / "rules").glob("*.smk"))]
    commands = [found for text in texts for found in rule.findall(text)]
    programs = {path.stem for path in (root / "scripts").glob("*.py")}
    assert {program for program, _ in commands} == programs
    for program, command in commands:
        if program == "train_cell":  # imports torch, and is run by other tests
            continue
        path = root / "scripts" / f"{program}.py"
        function = re.findall(r"    run\((\w+)", path.read_text())[0]
        options = command_line(runpy.run_path(str(path))[function]).assemble_argument_collection()
        passed = set(re.findall(r"--[a-z-]+", command))
        needed = {option.name for option in options if option.required} - {"*"}
        assert needed <= passed <= {option.name for option in options}, program


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (999, "999"), (1234567, "1.23M"), (999_960_000, "1B"), (2e11, "200B")],
)
def test_short_number_has_three_digits(value, text):
    assert short_number(value) == text
    assert full_number(text) == pytest.approx(value, rel=0.005)


def test_bytes_are_counted_in_gigabytes_and_all_else_in_billions():
    assert (short_bytes(8e10), short_number(8e10)) == ("80GB", "80B")
    assert full_number("1e21") == 1e21
    with pytest.raises(ValueError, match="6X"):
        full_number("6X")


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "0:05"), (65, "1:05"), (3725, "1:02:05"), (float("inf"), "?")]
)
def test_short_time_reads_as_a_clock(seconds, text):
    assert short_time(seconds) == text


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"),
            "a/b: No such file or directory; correct the path",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "No space left on device; free some space, or give a place on another disk",
        ),
        (
            OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"),
            "a to b: Invalid cross-device link",
        ),
        (OSError("of a library"), "of a library"),
        (FileNotFoundError("a.parquet"), "a.parquet: No such file or directory; correct the path"),
    ],
)
def test_error_of_the_system_is_a_line_with_what_to_do(error, line):
    assert line_of(error) == line
