#!/usr/bin/env python3
"""LSF, PBS, SGE or Kubernetes on this machine, by the name under which it is called.

Each job runs at once, from another folder than it was submitted in and with none of the submitter's
variables; what is asked for is written down. Only for tests: it schedules nothing.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

STATE = Path(__file__).resolve().parent / "jobs"
COMMANDS = ("bsub", "bjobs", "bkill", "qsub", "qstat", "qdel", "kubectl")


def install(folder: Path) -> None:
    """Its commands in `folder`, to be put into PATH."""
    folder.mkdir(parents=True)
    program = folder / "scheduler.py"
    program.write_text(Path(__file__).read_text().replace("/usr/bin/env python3", sys.executable))
    program.chmod(0o755)
    for name in COMMANDS:
        (folder / name).symlink_to(program)


def start(words: list[str], asked: list[str]) -> int:
    STATE.mkdir(exist_ok=True)
    number = 100 + len(list(STATE.glob("*.asked")))
    (STATE / f"{number}.asked").write_text("\n".join(asked))
    with (STATE / f"{number}.output").open("w") as output:
        job = subprocess.Popen(
            words, cwd="/", env={"PATH": os.defpath, "HOME": "/"}, start_new_session=True,
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    (STATE / f"{number}.pid").write_text(str(job.pid))
    return number


def runs(number: str) -> bool:
    try:
        stat = Path(f"/proc/{(STATE / f'{number}.pid').read_text()}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def stop(number: str) -> None:
    if runs(number):
        os.killpg(int((STATE / f"{number}.pid").read_text()), signal.SIGTERM)


def main(command: str, words: list[str]) -> None:
    if command == "bsub":
        print(f"Job <{start(['sh', words[-1]], words)}> is submitted to default queue <normal>.")
    elif command == "qsub":
        number = start(["sh", words[-1]], words)
        print(number if "-terse" in words else f"{number}.server")
    elif command in ("bkill", "qdel"):
        for job in words:
            stop(job.partition(".")[0])
    elif command == "bjobs":
        print("RUN" if runs(words[-1]) else "DONE")
    elif command == "qstat" and words[0] == "-f":
        number = words[1].partition(".")[0]
        print(f"Job Id: {words[1]}")
        print(f"    job_state = {'R' if runs(number) else 'F'}")
    elif command == "qstat" and not runs(words[1]):
        sys.exit(f"Following jobs do not exist:\n{words[1]}")
    elif command == "kubectl" and words[0] == "create":
        text = Path(words[-1]).read_text()
        (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
        print(f"job.batch/{start(container['command'], [text])}")
    elif command == "kubectl":
        for job in words:
            number = job.rpartition("/")[2]
            if words[0] == "delete" and number.isdigit():
                stop(number)
            elif words[0] == "get" and number.isdigit():
                print("" if runs(number) else "Complete")


if __name__ == "__main__":
    main(Path(sys.argv[0]).name, sys.argv[1:])
