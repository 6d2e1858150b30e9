"""A forked program of the tests is to who starts it as Python is."""

import os
import signal
import subprocess
import sys

import forked_programs
import pytest

PROGRAM = """
import os, signal, sys
print(sys.argv[1:], os.getcwd(), os.environ["HERE"], sys.stdin.read(), flush=True)
{end}
"""
ENDS = {
    "pass": 0,
    "sys.exit(3)": 3,
    "sys.exit('no')": 1,
    "raise ValueError('no')": 1,
    "os.kill(os.getpid(), signal.SIGKILL)": -signal.SIGKILL,
    "signal.raise_signal(signal.SIGTERM)": -signal.SIGTERM,
}


@pytest.mark.parametrize("end", ENDS)
def test_forked_program_says_and_ends_what_python_does(tmp_path, end):
    (tmp_path / "a.py").write_text(PROGRAM.format(end=end))
    done = [
        subprocess.run(
            [python, "a.py", "b c", "é"], input="x\n", cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "HERE": "1"},
        )
        for python in (forked_programs.folder() / "python", sys.executable)
    ]  # fmt: skip
    forked, started = ((one.returncode, one.stdout) for one in done)
    assert forked == started == (ENDS[end], f"['b c', 'é'] {tmp_path} 1 x\n\n")
    assert done[0].stderr.splitlines()[-1:] == done[1].stderr.splitlines()[-1:]
