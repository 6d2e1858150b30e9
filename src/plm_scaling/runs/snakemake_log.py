"""The failed jobs of a Snakemake run, from its log as Snakemake 9 and its Slurm plugin write it."""

import re
import time
from dataclasses import dataclass

# A log that Snakemake shows below an error: text of other programs, also of inner Snakemakes.
SHOWN_LOG = re.compile(r"^( *)Logfile [^\n]*:\n\1(=+)\n.*?^\1\2$", re.MULTILINE | re.DOTALL)
# Lines of a longer message are not indented.
EVENT = re.compile(
    r"^\[(?P<time>[^\]\n]+)\]\n"
    r"(?P<error>Error in )?(?:local)?(?:rule|checkpoint) (?P<rule>\S+):\n"
    r"(?:    message: (?P<message>(?s:.*?))\n(?=    jobid: ))?"
    r"(?P<fields>(?:    .*\n?)+)"
    r"|^Finished jobid: (?P<finished>\S+)"
    r"|^Trying to restart job (?P<restarted>\S+)\.$",
    re.MULTILINE,
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


def jobs_that_failed(text: str) -> list[FailedJob]:
    """What failed and was not started again since, from the text of Snakemake's log."""
    failed: dict[str, FailedJob] = {}
    started: dict[str, float] = {}
    for event in EVENT.finditer(SHOWN_LOG.sub("", text)):
        fields = _fields(event)
        if event["rule"] and "jobid" not in fields:
            continue  # cut off: the log is still being written, or the disk was full
        number = event["finished"] or event["restarted"] or fields["jobid"]
        failed.pop(number, None)
        if event["error"]:
            failed[number] = _job(event, fields, started.get(number, 0.0))
        elif event["rule"]:
            started[number] = time.mktime(time.strptime(event["time"]))
    return [*failed.values()]


def _job(event: re.Match[str], fields: dict[str, str], started: float) -> FailedJob:
    logs = fields.get("log", "").partition(" (check log file")[0].split(", ")
    return FailedJob(
        rule=event["rule"],
        output=fields.get("output", ""),
        message="" if event["message"] in (None, "None") else event["message"],
        logs=[log for log in logs if log],
        started=started,
    )


def _fields(event: re.Match[str]) -> dict[str, str]:
    """The lines `name: value` of a block, without those of its shell command."""
    lines = re.findall(r"^    (\w+): (.*)$", event["fields"] or "", re.MULTILINE)
    return dict(reversed(lines))  # the first of each name
