"""How long the rest of a run takes whose jobs are known, as those of `make demo` are.

A table has of each rule how many jobs the run has, and the share of each in its time: its seconds
over how many jobs ran at once. Measured by

    python -m plm_scaling.workflow.known_times JOBS.jsonl … > profiles/demo/times.tsv

from .snakemake/jobs.jsonl of each Snakemake call, in their order.
"""

import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.errors import ConfigError
from plm_scaling.runs.job_events import FINISHED, STARTED
from plm_scaling.runs.rule_stages import PLACING, STAGE_OF, STAGES, TRAINING

TRUSTED_SECONDS = 30.0  # of the table: how fast this machine is, its first jobs say but roughly


@dataclass(frozen=True)
class Known:
    """Of a rule: its jobs, the share of the time of each (seconds), and the cells that one adds."""

    jobs: int
    seconds: float
    places: int = 0


class KnownTimes:
    """What is left of a run of several Snakemake calls, in one of them."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._known = known
        self._left: Counter[str] = Counter()
        self._done = 0.0
        self.follow: list[str] = []
        """The stages of the calls after this one."""

    def plan(self, jobs: Mapping[str, int]) -> None:
        """Take the jobs of this call by rule. Stages after its last one are for the next call."""
        order = [*STAGES]
        last = max((order.index(STAGE_OF[rule]) for rule in jobs if rule in STAGE_OF), default=-1)
        known = {STAGE_OF[rule] for rule in self._known}
        self.follow = [stage for stage in order[last + 1 :] if stage in known and last >= 0]
        self._left = Counter(jobs)
        for rule, one in self._known.items():
            if STAGE_OF[rule] in self.follow:
                self._left[rule] = one.jobs
            self._left[TRAINING] += jobs.get(rule, 0) * one.places

    def ended(self, rule: str) -> None:
        """Count a job that has ended."""
        if rule in self._known and self._left[rule] > 0:
            self._left[rule] -= 1
            self._done += self._known[rule].seconds

    def left(self, elapsed: float) -> float:
        """Seconds to the end of the last call, `elapsed` seconds after this one began."""
        left = sum(self._left[rule] * one.seconds for rule, one in self._known.items())
        return left * (elapsed + TRUSTED_SECONDS) / (self._done + TRUSTED_SECONDS)


def read_known(path: Path) -> dict[str, Known]:
    """A table of rules, tab-separated: rule, jobs, seconds, places. Raises `ConfigError`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            known = {
                row["rule"]: Known(int(row["jobs"]), float(row["seconds"]), int(row["places"]))
                for row in csv.DictReader(file, delimiter="\t")
            }
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a table of times of jobs") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: no table of times of jobs ({error}); "
            "its columns are rule, jobs, seconds, places"
        ) from None
    if unknown := [rule for rule in known if rule not in STAGE_OF]:
        raise ConfigError(
            f"{path}: no rule of the workflow is named {unknown[0]}; leave its line out"
        )
    return known


def measured(calls: Iterable[Path]) -> dict[str, Known]:
    """Such a table of finished calls, from what each says of its jobs (jobs.jsonl)."""
    jobs: Counter[str] = Counter()
    shares: defaultdict[str, float] = defaultdict(float)
    placed = 0
    for call in calls:
        events = [json.loads(line) for line in call.read_text(encoding="utf-8").splitlines()]
        before = events[0]["time"]
        running: dict[int, str] = {}
        has_placed = False
        for event in events[1:]:
            spent, before = event["time"] - before, event["time"]
            if event["event"] == STARTED and not running:
                shares[event["rule"]] += spent  # of Snakemake itself, before the next job
            for rule in running.values():
                shares[rule] += spent / len(running)
            if event["event"] == STARTED:
                running[event["job"]] = event["rule"]
                jobs[event["rule"]] += 1
                placed += has_placed and event["rule"] == TRAINING
            elif event["event"] == FINISHED:
                has_placed |= running.pop(event["job"], "") == PLACING
    rules = (rule for rule in STAGE_OF if jobs[rule])
    return {
        rule: Known(jobs[rule], shares[rule] / jobs[rule], placed if rule == PLACING else 0)
        for rule in rules
    }


if __name__ == "__main__":
    print("rule\tjobs\tseconds\tplaces")
    for name, one in measured(map(Path, sys.argv[1:])).items():
        print(f"{name}\t{one.jobs}\t{one.seconds:.2f}\t{one.places}")
