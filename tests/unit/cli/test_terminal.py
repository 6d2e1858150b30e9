"""The command in a shell: pipes that close, Ctrl-C, completion after Tab."""

import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from plm_scaling.cli.main import main

COMMAND = [sys.executable, "-m", "plm_scaling.cli.main"]
PLAN = ["plan", "--objective", "clm", "--flops", "1e21"]


@pytest.mark.parametrize("words", [PLAN, ["--help"], ["data", "check", "--help"], ["--version"]])
def test_a_reader_that_has_enough_ends_the_command_without_a_word(words):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(COMMAND + words, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_ctrl_c_ends_the_command_without_a_word():
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*COMMAND, "data", "check", "-"], **pipes) as command:
        command.stdin.write(b">a\nMKV\n" * 100_000)  # more than a pipe holds: it is being read
        command.send_signal(signal.SIGINT)
        assert command.communicate()[1] == b""
    assert command.returncode == -signal.SIGINT


def test_ctrl_c_during_the_imports_of_a_command_is_quiet_too():
    program = "import sys, plm_scaling.cli; assert 'cyclopts' not in sys.modules; "
    words = [sys.executable, "-c", program + "raise KeyboardInterrupt"]
    done = subprocess.run(words, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("data check ''", 2, "an empty path"),
        ("judge a.fasta --against '' --out a.tsv", 2, "an empty path"),
        ("judge - --against a.fasta --natural - --out a.tsv", 2, "standard input is read once"),
        ("run a.fasta --cores 2", 2, "options of Snakemake follow after --"),
        ("watch . --port 99999", 1, "port must be 0-65535; give another"),
        ("data check - -", 2, "standard input is read once"),
        ("data check --nosuch a.fasta", 2, "Unknown option: --nosuch"),  # and no file of that name
        ("init new --fasta - --gpus 2xCPU --hours 1", 2, "--fasta: - means no stream here"),
        ("data inspect -", 2, "- means no stream here; give the name of a file or folder"),
        ("design --out -", 2, "--out: - means no stream here"),
        (
            "data tokenize a.fasta --valid - --context-length 64 --out t",
            1,
            "standard input is empty",
        ),
        ("plan --objective clm --flops 1e21 --plot ''", 2, "an empty path"),
        ("init new --fasta a.fasta --gpus 8xA100 --days 1e300", 1, "more than a century"),
        ("init new --fasta a.fasta --gpus 8xA100 --hours nan", 1, "a positive number such as 8"),
        ("data check p.fasta --config a.fasta/b.yaml", 1, "a.fasta/b.yaml cannot be read"),
        ("data tokenize a.fasta --context-length 1000000000000 --out t", 1, "give 2 to 1000000"),
        ("data inspect /proc/1/mem", 1, "/proc/1/mem"),
    ],
)
def test_what_a_hand_may_type_is_one_line_with_what_to_do(
    tmp_path, monkeypatch, capsys, words, code, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.fasta").write_text(">a\nMKV\n")
    monkeypatch.setattr("sys.argv", ["plm-scaling", *shlex.split(words)])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    line = shown.err or str(ended.value.code) + "\n"
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert said in line
    assert (2 if ended.value.code == 2 else 1) == code


@pytest.mark.parametrize(
    ("given", "said"), [((), "too little memory;"), (("9 TB",), "too little memory (9 TB);")]
)
def test_memory_that_is_not_there_is_one_line(monkeypatch, given, said):
    def no_memory(*words):
        raise MemoryError(*given)

    monkeypatch.setattr("plm_scaling.planner.answer.plan", no_memory)
    monkeypatch.setattr("sys.argv", ["plm-scaling", *PLAN])
    with pytest.raises(SystemExit, match=f"^error: {re.escape(said)} ask for less"):
        main()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_a_shell(tmp_path, shell):
    script = tmp_path / "completion"
    words = ["--install-completion", "--shell", shell, "--output", str(script)]
    home = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(COMMAND + words, env=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "check-site" in script.read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


def test_bash_completes_commands_and_options(tmp_path):
    script = tmp_path / "completion"
    words = ["--install-completion", "--shell", "bash", "--output", str(script)]
    home = os.environ | {"HOME": str(tmp_path)}
    subprocess.run(COMMAND + words, env=home, capture_output=True, check=True)

    def completed(*typed):
        lines = f"""
            source {script}
            COMP_WORDS=({" ".join(typed)}) COMP_CWORD={len(typed) - 1}
            $(complete -p plm-scaling | sed -E 's/.*-F ([^ ]+).*/\\1/')
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        return subprocess.check_output(["bash", "-c", lines], text=True).split()

    assert "evaluate" in completed("plm-scaling", "ev")
    assert "--amino-acids" in completed("plm-scaling", "score", "--am")
