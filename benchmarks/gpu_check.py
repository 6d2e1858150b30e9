"""What one GPU shows of the training engine: the most valuable first, in eight minutes at most.

python benchmarks/gpu_check.py --site build/gpu-site --out "$OUT"

Each part is a process with a time limit of its own. Results are written every second, so that a
run that is cut keeps what it had: results.md and results.json, log.txt of all parts, profile.txt
and throughput.md; all else goes to a temporary folder. `--dry` tries it on a CPU in tiny shapes.

The machine has Python 3.12, PyTorch with Triton and a C compiler, numpy, pandas, pyarrow, PyYAML,
psutil, pytest and hypothesis; neither Transformer Engine nor a network. The rest is carried in the
folder `--site`, 30 MB:

pip install --target build/gpu-site --no-deps --only-binary :all: --python-version 3.12 \\
    --constraint requirements.lock megatron-core pydantic pydantic-core annotated-types \\
    typing-inspection typing-extensions isal

No program of scripts/ is started, so what those read their arguments with is not needed.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DRY_TIMES = 10  # as long may a CPU take, that does other work


@dataclass
class Part:
    """A check, how long it may take, what is expected, and what came of it."""

    name: str
    limit_s: float
    expected: str
    tests: str = ""
    """The file of tests that it runs; else it is a function of gpu_parts.py."""
    status: str = "not begun"
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)

    def command(self, folder: Path, dry: bool) -> list[str]:
        """How it is started; its files go to `folder`."""
        if self.tests:
            return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", self.tests]
        parts = str(ROOT / "benchmarks/gpu_parts.py")
        return [sys.executable, parts, self.name, str(folder), *(["--dry"] if dry else [])]


def all_parts() -> list[Part]:
    """The most valuable first; docs/benchmarks.md, "One GPU", says what they are for."""
    model, engine = (f"tests/gpu/test_cuda_{name}.py" for name in ("model", "engine"))
    mfu = "MFU 36-41 % (85M), 44-49 % (680M); memory: estimate 0.87-0.95 of what was measured"
    return [
        Part("versions", 40, "nothing is absent; expandable segments"),
        Part("products", 60, "copy 4.3 TB/s; 770-800 TFLOP/s; padded widths 600 and more"),
        Part("model_tests", 110, "passed; those of Transformer Engine skipped", model),
        Part("engine_tests", 80, "passed; those of two GPUs skipped", engine),
        Part("throughput", 150, mfu),
        Part("profile", 45, "2 or 3 synchronisations a step"),
        Part("resume", 90, "exit code 75; the losses of an unbroken run to 1e-4"),
        Part("parity", 40, "loss and gradient norm to 1e-4 over 50 steps"),
    ]


def run_part(
    part: Part, folder: Path, dry: bool, site: Path | None, limit_s: float
) -> Iterator[None]:
    """Run it, at most `limit_s`, and yield every second; all that it started ends with it."""
    folders = [site, ROOT / "src", ROOT / "tests/support"]
    paths = [str(folder.resolve()) for folder in folders if folder]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    log, numbers, begin = folder / "log.txt", folder / f"{part.name}.json", time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            part.command(folder, dry),
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=env,
            start_new_session=True,
        )
    part.status = "begun"
    while part.status == "begun":
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(1)
            part.status = "ok" if code == 0 else f"exit code {code}"
        part.seconds = round(time.monotonic() - begin, 1)
        if part.status == "begun" and part.seconds > limit_s:
            part.status = f"cut after {limit_s:.0f} s"
        with suppress(FileNotFoundError):
            part.found = json.loads(numbers.read_text())
        yield
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if part.tests or part.status != "ok":
        lines = log.read_text().splitlines()
        part.found["log"] = next((line for line in reversed(lines) if line.strip()), "")[:300]


def write_results(parts: list[Part], out: Path) -> None:
    """results.json, and the same as a table."""
    (out / "results.json").write_text(json.dumps([asdict(part) for part in parts], indent=1))
    lines = ["| part | result | s | found | expected |", "|---|---|---|---|---|"]
    for part in parts:
        found = "<br>".join(f"{name}: {value}" for name, value in part.found.items())
        cells = [part.name, part.status, f"{part.seconds:g}", found, part.expected]
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    (out / "results.md").write_text("\n".join(lines) + "\n")


def main(out: Path, site: Path | None, seconds: float, parts: list[str] | None, dry: bool) -> int:
    """Run the parts while there is time; the number of those that were begun and are not ok."""
    out.mkdir(parents=True, exist_ok=True)
    times = DRY_TIMES if dry else 1
    end = time.monotonic() + times * seconds
    chosen = [part for part in all_parts() if parts is None or part.name in parts]
    for part in chosen:
        left = end - time.monotonic()
        if left < 5:
            break
        with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
            limit_s = min(times * part.limit_s, left)
            for _ in run_part(part, Path(folder), dry, site, limit_s):
                write_results(chosen, out)
            write_results(chosen, out)
            with (out / "log.txt").open("a") as log:
                log.write(f"\n## {part.name}\n{(Path(folder) / 'log.txt').read_text()}")
            for file in (*Path(folder).glob("profile.txt"), *Path(folder).glob("*.md")):
                shutil.copy(file, out)
        print(f"{part.name}: {part.status}, {part.seconds} s, {part.found}", flush=True)
    return sum(part.status not in ("ok", "not begun") for part in chosen)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    given = os.environ.get("OUT")
    parser.add_argument("--out", type=Path, default=given, required=given is None, help="folder")
    parser.add_argument("--site", type=Path, help="folder of the packages that are carried")
    parser.add_argument("--seconds", type=float, default=480, help="for all parts together")
    parser.add_argument("--parts", nargs="+", choices=[part.name for part in all_parts()])
    parser.add_argument("--dry", action="store_true", help="on a CPU, in tiny shapes")
    sys.exit(main(**vars(parser.parse_args())))
