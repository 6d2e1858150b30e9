"""What a job costs before its program begins."""

import os
import subprocess
import sys

# Python runs it at each start.
SITE = """
import os, sys
with open(os.environ["STARTS"], "a") as file:
    print(*sys.orig_argv[1:3], file=file)
"""


def test_a_job_on_this_machine_is_one_python_process(root, fresh, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE)
    environment = os.environ | {"PYTHONPATH": str(folder), "STARTS": str(tmp_path / "starts.txt")}
    words = fresh.words(["data/tiny/clean/uniref_demo/counts.tsv"])
    command = [sys.executable, "-m", "snakemake", *words]
    subprocess.run(command, cwd=fresh.folder, env=environment, check=True, capture_output=True)
    programs = [f"{root}/scripts/{name}.py" for name in ("verify_files", "clean_source")]
    started = [line.split()[0] for line in (tmp_path / "starts.txt").read_text().splitlines()]
    assert started == ["-m", *programs]
