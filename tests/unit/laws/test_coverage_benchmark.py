"""The benchmark of coverage runs on today's laws; its numbers are made by hand."""

import subprocess
import sys

import pandas as pd
import pytest


@pytest.mark.slow
def test_coverage_benchmark_quick_has_a_line_for_every_case(root, tmp_path):
    command = [sys.executable, root / "benchmarks/coverage.py", "--quick", "--out"]
    done = subprocess.run([*command, tmp_path / "all.csv"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2 + 20  # ten sweeps of two surfaces
    rows = pd.read_csv(tmp_path / "all.csv")
    assert not rows["status"].str.startswith("refused").any()
    known = rows[rows["quantity"].notna()]
    assert set(known["quantity"]) == {"a", "alpha", "E", "R_D", "L3", "L10"}
    assert (known["low"] <= known["estimate"]).all()
    assert (known["estimate"] <= known["high"]).all()
