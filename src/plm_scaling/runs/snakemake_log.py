"""The failed jobs of a Snakemake run, from its log as Snakemake 9 and its Slurm plugin write it."""

import re
import time
from dataclasses import dataclass, field

# A log that Snakemake shows below an error: text of other programs, also of inner Snakemakes.
SHOWN_LOG = re.compile(r"^( *)Logfile [^\n]*:\n\1(=+)\n.*?^\1\2$", re.MULTILINE | re.DOTALL)
# Lines of a job in a group are indented. Those of a longer message are not.
EVENT = re.compile(
    r"^(?P<indent> *)\[(?P<time>[^\]\n]+)\]\n"
    r"(?P=indent)(?P<error>Error in )?(?:local)?(?:rule|checkpoint) (?P<rule>\S+):\n"
    r"(?:(?P=indent)    message: (?P<message>(?s:.*?))\n(?=(?P=indent)    jobid: ))?"
    r"(?P<fields>(?:(?P=indent)    .*\n?)+)"
    r"|^    message: Error in group (?P<group>.*)\n"
    r"(?:    log: (?P<group_log>.*?)(?: \(check log file\(s\).*)?\n)?"
    r"|^Job (?P<submitted>\S+) has been submitted with SLURM jobid .* \(log: (?P<slurm_log>.*)\)\.$"
    r"|^Finished jobid: (?P<finished>\S+)"
    r"|^Trying to restart job (?P<restarted>\S+)\.$",
    re.MULTILINE,
)
SLURM = re.compile(r"^SLURM run ID: ", re.MULTILINE)
# Snakemake's log keeps a message for a job, but none for a group.
REFUSED_GROUP = (
    "not submitted, and Snakemake does not log why for a group of jobs; "
    "look at account, partition and resources of the rule"
)


@dataclass(frozen=True)
class FailedJob:
    """A failed job: its output, the message of its executor, and its logs.

    `started` is when Snakemake started or submitted it, in seconds since the epoch, 0 if unknown.
    """

    rule: str
    output: str
    message: str
    logs: list[str]
    started: float


@dataclass
class Submission:
    """Failed jobs by number: a single one, or those of a group, with the group's log."""

    grouped: bool = False
    log: str = ""
    jobs: dict[str, FailedJob] = field(default_factory=dict)


def failed_submissions(text: str) -> list[Submission]:
    """What failed and was not started again since, from the text of Snakemake's log."""
    text = SHOWN_LOG.sub("", text)
    failed: list[Submission] = []
    started: dict[str, float] = {}
    slurm_logs: dict[str, str] = {}
    for event in EVENT.finditer(text):
        if event["rule"] and "jobid" not in _fields(event):
            continue  # cut off: the log is still being written, or the disk was full
        if event["group"]:
            failed.append(Submission(grouped=True, log=event["group_log"] or ""))
        elif event["submitted"]:
            slurm_logs[event["submitted"]] = event["slurm_log"]
        elif event["rule"] and event["error"]:
            if not (event["indent"] and failed):
                failed.append(Submission())
            refused = failed[-1].grouped and not failed[-1].log and SLURM.search(text)
            number, job = _job(event, started, REFUSED_GROUP if refused else "")
            failed[-1].jobs[number] = job
        else:
            number = event["finished"] or event["restarted"] or _fields(event)["jobid"]
            if event["rule"]:
                started[number] = time.mktime(time.strptime(event["time"]))
            _forget(number, failed, slurm_logs)
    return [submission for submission in failed if submission.jobs]


def named_as_failed(text: str) -> set[str]:
    """The outputs (as `FailedJob.output`) of all jobs with an error in Snakemake's log."""
    events = EVENT.finditer(SHOWN_LOG.sub("", text))
    return {_fields(event).get("output", "") for event in events if event["error"]}


def _job(event: re.Match[str], started: dict[str, float], default: str) -> tuple[str, FailedJob]:
    """A failed job by its number; `default` is its message where the log has none."""
    fields = _fields(event)
    message = default if event["message"] in (None, "None") else event["message"]
    logs = fields.get("log", "").partition(" (check log file")[0].split(", ")
    return fields["jobid"], FailedJob(
        rule=event["rule"],
        output=fields.get("output", ""),
        message=message,
        logs=[log for log in logs if log],
        started=started.get(fields["jobid"], 0.0),
    )


def _fields(event: re.Match[str]) -> dict[str, str]:
    """The lines `name: value` of a block, without those of its shell command."""
    lines = re.findall(rf"^{event['indent']}    (\w+): (.*)$", event["fields"], re.MULTILINE)
    return dict(reversed(lines))  # the first of each name


def _forget(number: str, failed: list[Submission], slurm_logs: dict[str, str]) -> None:
    """Remove what was started again or finished: a job by its number, a group by its uuid."""
    for submission in failed:
        submission.jobs.pop(number, None)
        if submission.log and submission.log == slurm_logs.get(number):
            submission.jobs.clear()
    failed[:-1] = [submission for submission in failed[:-1] if submission.jobs]
