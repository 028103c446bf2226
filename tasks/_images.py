"""What the tasks of `images` show: rows for programs, and the same in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tasks import _clouds, _console

if TYPE_CHECKING:
    from cloud.base import Cloud, Image
    from packer.pipeline import Outcome, Plan


def purposes(clouds: Iterable[Cloud]) -> tuple[str, ...]:
    """For what of `tools.toml` programs have to be on this machine, so that images can be built there."""
    return ("images", "local") if "local" in {cloud.name for cloud in clouds} else ("images",)


def image_row(image: Image, current: bool) -> _console.Row:
    """A build, and whether it is the current one."""
    return {
        "build": image.build,
        "cloud": image.cloud,
        "state": image.state,
        "current": current,
        "created": image.created,
        "size": image.size,
        "fingerprint": image.tags.get("km-fingerprint", ""),
        "id": image.id,
    }


BUILD_COLUMNS: dict[str, Callable[[Any], str]] = {
    "build": str,
    "cloud": str,
    "state": str,
    "current": lambda yes: "current" if yes else "",
    "created": _console.age,
    "size": lambda size: f"{size / 1e6:.0f} MB" if size else "",
    "id": str,
}


def plan_row(plan: Plan, cloud: Cloud) -> _console.Row:
    """A plan, and what it takes there."""
    cost = cloud.images.cost()
    return {
        "cloud": plan.cloud,
        "image": plan.definition.name,
        "up_to_date": plan.up_to_date,
        "steps": plan.steps,
        "reason": plan.reason,
        "build": plan.start.build if plan.start else None,
        "fingerprint": plan.fingerprint,
        "base": plan.base.id,
        "minutes": cost.minutes if "build" in plan.steps else "0",
        "space": cost.space if "build" in plan.steps else 0,
        "free": cost.free,
    }


def plan_text(rows: list[_console.Row]) -> str:
    """The plans in words: what would be done, why, at what price."""
    lines = []
    for row in rows:
        head = f"{row['image']} on {row['cloud']}"
        if row["up_to_date"]:
            lines.append(f"{head} is up to date: {row['reason']}")
        else:
            lines.append(f"{head}: {', '.join(row['steps'])}, because {row['reason']}")
        if "build" in row["steps"]:
            room = f" and {row['space'] / 1e9:.1f} GB, of {row['free'] / 1e9:.0f} GB that are free"
            lines.append(f"  takes {row['minutes']} minutes{room if row['space'] else ''}")
    return "\n".join(lines)


def outcome_row(outcome: Outcome) -> _console.Row:
    """What became of a plan."""
    return {
        **image_row(outcome.image, outcome.image.state == "promoted"),
        "checks": [vars(check) for check in outcome.checks],
        "seconds": {step: round(took, 1) for step, took in outcome.seconds.items()},
        "pruned": outcome.pruned,
    }


def outcome_text(outcomes: list[Outcome]) -> str:
    """The same in words, and what to type next."""
    lines = []
    for made in outcomes:
        image = made.image
        took = _console.duration(sum(made.seconds.values()))
        proven = f"{len(made.checks)} checks passed" if made.checks else "proven before"
        lines.append(f"{image.build} on {image.cloud}: {image.state} after {took}, {proven}")
        lines.append(f"  {image.id}" + (f" ({image.size / 1e6:.0f} MB)" if image.size else ""))
        lines.append(f"  next: ./inv images.list --cloud {image.cloud}")
    return "\n".join(lines)


def left_behind(clouds: Sequence[Cloud]) -> list[str]:
    """What killed work left there, having looked."""
    looked = _clouds.ask(clouds, lambda each: each.images.leftovers())
    left = [f"{each.what} {each.id}" for answer in looked for each in answer.value or ()]
    blind = [f"could not look on {answer.cloud.name}: {answer.error.message}" for answer in looked if answer.error]
    if left:
        return [*blind, f"left behind: {'; '.join(left)}: ./inv images.prune removes it"]
    return blind or ["left behind: nothing"]
