"""Commands of Slurm that answer by a script: what our executor sends and how it takes answers.

`install` puts sbatch, squeue and others into a folder for PATH. A job that is submitted ends at
once, as its next `Step` says, and what it would have made is made; without steps it completes. What
was sent is in `Scripted.sent`. No program of a rule runs.
"""

import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "sshare")


@dataclass
class Step:
    """What comes of a submission: `refused` with sbatch's message, or a job of this state.

    `files` are written, by name; a job that completes makes its output too.
    """

    state: str = "COMPLETED"
    host: str = "n1"
    refused: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class Scripted:
    """The folder of the commands, and what they know."""

    folder: Path

    def script(self, steps: dict[str, list[Step]]) -> None:
        """What comes of the submissions whose comment holds the key, one step for each."""
        text = {key: [asdict(step) for step in of_key] for key, of_key in steps.items()}
        (self.folder / "steps.json").write_text(json.dumps(text))

    @property
    def sent(self) -> list[dict]:
        """Submissions, oldest first: `words` of sbatch, the `script`, what became of it."""
        return [read(path) for path in sorted(self.folder.glob("job-*.json"))]

    def submitted(self, key: str) -> list[dict]:
        """Those that were accepted and whose comment holds `key`."""
        return [job for job in self.sent if key in job["comment"] and job["number"]]

    @property
    def asked(self) -> int:
        """How many times squeue was asked for jobs in all states."""
        return (self.folder / "asked").stat().st_size if (self.folder / "asked").exists() else 0

    @property
    def looks(self) -> int:
        """How many times squeue was asked for jobs that go on."""
        return (self.folder / "looks").stat().st_size if (self.folder / "looks").exists() else 0

    def set_state(self, number: str, state: str, restarts: int = 0) -> None:
        """A job's state from now on, and how many times it was queued again."""
        with self.locked():
            self.update(number, state, restarts)

    def update(self, number: str, state: str, restarts: int = 0) -> None:
        """The same, for who has the lock."""
        for path in self.folder.glob("job-*.json"):
            job = read(path)
            if job["number"] == number:
                path.write_text(json.dumps(job | {"state": state, "restarts": restarts}))

    def script_cancels(self, *steps: str) -> None:
        """What comes of each scancel: the state of its job from then on, or "" for an error. After
        these, and without any, jobs end at once."""
        (self.folder / "cancels.json").write_text(json.dumps(steps))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads or writes these files meanwhile."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def install(folder: Path) -> Scripted:
    """Put the commands into `folder`; the caller puts it into PATH."""
    folder.mkdir()
    for name in COMMANDS:
        program = folder / name
        program.write_text(f"#!{sys.executable} -S\nimport sys\nsys.path.insert(0, ")
        with program.open("a") as file:
            file.write(f"{str(Path(__file__).parent)!r})\nimport scripted_slurm\n")
            file.write(f"scripted_slurm.main({name!r}, {str(folder)!r})\n")
        program.chmod(0o755)
    (folder / "steps.json").write_text("{}")
    (folder / "cancels.json").write_text("[]")
    return Scripted(folder)


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def main(command: str, folder: str) -> None:
    """What stands behind each command."""
    words, place = sys.argv[1:], Path(folder)
    if (place / "down").exists():
        sys.exit(f"{command}: error: Unable to contact slurm controller (connect failure)")
    if command in ("sbatch", "squeue", "scancel"):
        with Scripted(place).locked():  # two are sent at a time
            {"sbatch": _sbatch, "squeue": _squeue, "scancel": _scancel}[command](words, place)
    elif command == "sinfo":
        print("main*")
    elif command == "scontrol" and words == ["show", "config"]:
        print("MaxArraySize            = 0")  # a site without job arrays
    elif command in ("sacct", "sacctmgr", "sshare"):
        sys.exit(f"{command}: error: Slurm accounting storage is disabled")


def _sbatch(words: list[str], folder: Path) -> None:
    comment = words[words.index("--comment") + 1]
    steps = read(folder / "steps.json")
    key = next((key for key in steps if key in comment and steps[key]), None)
    step = Step(**steps[key].pop(0)) if key else Step()
    (folder / "steps.json").write_text(json.dumps(steps))
    count = len(list(folder.glob("job-*.json"))) + 1
    number = "" if step.refused else str(100 + count)
    job = {
        "number": number,
        "comment": comment,
        "name": words[words.index("--job-name") + 1],
        "state": step.state,
        "restarts": 0,
        "host": step.host,
        "words": words,
        "script": sys.stdin.read(),
    }
    (folder / f"job-{count:04d}.json").write_text(json.dumps(job))
    if step.refused:
        sys.exit(step.refused)
    made = {output_of(comment): "made"} if step.state == "COMPLETED" else {}
    for name, text in (made | step.files).items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    print(number)


def output_of(comment: str) -> str:
    """What the job of this comment makes."""
    return comment.partition(" makes ")[2].partition(" with ")[0]


def _squeue(words: list[str], folder: Path) -> None:
    name, form, everything = words[words.index("--name") + 1], words[-1], "--states=all" in words
    with (folder / ("asked" if everything else "looks")).open("a") as file:
        file.write(".")
    for path in sorted(folder.glob("job-*.json")):
        job = read(path)
        goes_on = job["state"] in ("PENDING", "RUNNING", "COMPLETING")
        if job["number"] and job["name"] == name and (goes_on or everything):
            print(_columns(job, form) if "--Format" in words else _fields(job, form))


def _fields(job: dict, form: str) -> str:
    """Of squeue's `--format`."""
    return "|".join(job[{"%A": "number", "%k": "comment"}[part]] for part in form.split("|"))


def _columns(job: dict, form: str) -> str:
    """Of squeue's `--Format`: names with widths."""
    keys = {"JobID": "number", "State": "state", "RestartCnt": "restarts", "NodeList": "host"}
    parts = (part.split(":") for part in form.split(","))
    return "".join(f"{job[keys[name]]:<{width}}" for name, width in parts)


def _scancel(words: list[str], folder: Path) -> None:
    steps = read(folder / "cancels.json")
    state = steps.pop(0) if steps else "CANCELLED"
    (folder / "cancels.json").write_text(json.dumps(steps))
    if not state:
        sys.exit("scancel: error: Kill job error: Unable to contact slurm controller")
    for number in words:
        if number.isdigit():
            Scripted(folder).update(number, state)
