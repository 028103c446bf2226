"""Keep or destroy: what becomes of a run's VM when the run is over. Pure.

A VM is kept for somebody to look into what failed on it. What failed elsewhere says nothing about
it, as far as GitHub tells where a job ran. What can't be read is kept, with a warning: a VM that
waits costs little, what it knew is gone for good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cloud.errors import one_line

_RESULTS = ("success", "failure", "cancelled", "skipped")


@dataclass(frozen=True)
class Job:
    """A job of the run, as GitHub's API tells of it."""

    name: str
    """As people see it: with the values of its matrix, and before it the job that called its workflow."""
    url: str
    """Where people look at it."""
    labels: Sequence[str]
    """Those that it asks of a runner."""
    status: str
    """`queued`, `in_progress`, `completed` and others."""
    conclusion: str | None
    """How it ended: `success`, `failure`, `cancelled` and others; None as long as that is not known."""
    failed_step: str = ""
    """The first step that failed; empty where none did, or nobody knows."""
    timed_out: bool = False
    """It was cancelled because its time was over. To GitHub that is `cancelled` too; an annotation tells it."""

    @property
    def failure(self) -> str:
        """What failed, for people; empty where nothing did, or it is not known yet."""
        if self.conclusion == "timed_out" or (self.timed_out and self.conclusion in ("cancelled", "failure", None)):
            return f"job {self.name} hit its time limit"
        if self.conclusion != "failure":
            return ""
        return f"job {self.name} failed" + (f" at step {self.failed_step}" if self.failed_step else "")


@dataclass(frozen=True)
class Verdict:
    """What becomes of a VM. Its texts are one line each."""

    keep: bool
    """Whether it is kept; else it is destroyed."""
    why: str
    """For people, and for its tags."""
    job: str = ""
    """The address of the job for which it is kept; empty where it is no single one."""
    warning: str = ""
    """What could not be read, so that the VM is kept without need, maybe."""
    stays: bool = False
    """It was kept before this run's last attempt, and stays as it is: for that reason, and until its own time."""

    def __post_init__(self) -> None:
        for text in ("why", "job", "warning"):
            object.__setattr__(self, text, one_line(getattr(self, text)))


def parse_needs(text: str) -> Mapping[str, str] | None:
    """How each job ended that the stopping one waited for, from what Actions writes for `toJSON(needs)`.

    A matrix, or a workflow that was called, is one job. None where the text is anything else, or a
    result one that we do not know.
    """
    try:
        needs = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(needs, dict):
        return None
    results = {}
    for job, told in needs.items():
        result = told.get("result") if isinstance(told, dict) else None
        if result not in _RESULTS:
            return None
        results[job] = result
    return results


def decide(
    label: str, needs: Mapping[str, str] | None, jobs: Sequence[Job] | None, before: Verdict | None = None
) -> Verdict:
    """What becomes of the VM for which jobs ask by that label.

    `needs` is what `parse_needs` made of its text. `jobs` are all jobs of the run's last attempt;
    None where GitHub does not tell: then any failure keeps the VM of every cloud. `before` is for what
    an earlier attempt has kept it: it goes when the jobs went well this time. An attempt of which
    nothing is known, or which was cancelled, has shown nothing about what failed: then it stays as it is.
    """
    found = _decided(label, needs, jobs)
    if before and (found.warning or not (found.keep or _went_well(label, needs, jobs))):
        return replace(before, warning=found.warning, stays=True)
    return found


def _went_well(label: str, needs: Mapping[str, str] | None, jobs: Sequence[Job] | None) -> bool:
    """Whether jobs ran on it and ended well. Where GitHub does not tell which: whether all of the run did."""
    if jobs is None:
        return set((needs or {}).values()) == {"success"}
    ended = {job.conclusion for job in _asking(label, jobs)}
    return "success" in ended and ended <= {"success", "skipped", "neutral"}


def _asking(label: str, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that ask for the label. GitHub compares labels without regard to case."""
    return [job for job in jobs if label.lower() in (each.lower() for each in job.labels)]


def _decided(label: str, needs: Mapping[str, str] | None, jobs: Sequence[Job] | None) -> Verdict:
    if jobs is not None:
        return _by_jobs(label, needs or {}, jobs)
    if needs is None:
        why = "needs could not be read"
        return Verdict(True, why, warning=f"{why}, nor the run's jobs: kept, since nobody knows what failed")
    failed = _failed(needs)
    return Verdict(True, failed) if failed else Verdict(False, "no job failed")


def asked(keep: bool) -> Verdict:
    """What somebody decided who did not ask us."""
    return Verdict(keep, f"asked for by {'--keep' if keep else '--destroy'}")


def _by_jobs(label: str, needs: Mapping[str, str], jobs: Sequence[Job]) -> Verdict:
    ours = _asking(label, jobs)
    for job in ours:
        if job.failure:
            return Verdict(True, job.failure, job.url)
    # A job that still ends has not failed: that is how a cancelled run looks. But the API may lag behind
    # what `needs` says: a failure there that is none of the jobs known to have failed can be this one's.
    under_way = next((job for job in ours if job.conclusion is None), None)
    failed = _failed(needs)
    if under_way and failed and not any(job.failure for job in jobs):
        warning = f"GitHub does not say yet how job {under_way.name} ended: kept, since it may have failed"
        return Verdict(True, failed, under_way.url, warning)
    return Verdict(False, "no job failed on it" if ours else "no job ran on it")


def _failed(needs: Mapping[str, str]) -> str:
    """Which jobs failed, for people; empty where none did."""
    failed = [job for job, result in needs.items() if result == "failure"]
    return f"needs: {', '.join(failed)} failed" if failed else ""
