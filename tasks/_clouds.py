"""One thing done on several clouds side by side: each ends on its own, and all are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cloud.errors import Interrupted, KitError, PartlyFailed
from tasks import _bugs

if TYPE_CHECKING:
    from cloud.base import Cloud

T = TypeVar("T")
C = TypeVar("C", bound="Cloud")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What became of it on one cloud: a value, or the error."""

    cloud: Cloud
    value: T | None
    error: KitError | None = None


def ask(clouds: Sequence[C], act: Callable[[C], T]) -> list[Answer[T]]:
    """Do it on each of them at the same time; the answers come in the order of the clouds."""
    return side_by_side([(cloud, partial(act, cloud)) for cloud in clouds], len(clouds))


def side_by_side(acts: Sequence[tuple[Cloud, Callable[[], T]]], at_once: int) -> list[Answer[T]]:
    """Do all of it, so many at the same time; the answers come in their order.

    A bug of ours is the end of one, and no other loses its answer.
    """
    answers = together([act for _, act in acts], at_once)
    return [Answer(cloud, value, error) for (cloud, _), (value, error) in zip(acts, answers, strict=True)]


def together(acts: Sequence[Callable[[], T]], at_once: int) -> list[tuple[T | None, KitError | None]]:
    """Do all of it, so many at the same time; what each returned, or its error, in their order."""

    def one(act: Callable[[], T]) -> tuple[T | None, KitError | None]:
        try:
            return act(), None
        except KitError as error:
            return None, error
        except Exception as bug:  # noqa: BLE001  # it is told, beside how the others ended
            return None, _bugs.error(bug)

    with ThreadPoolExecutor(max(1, at_once)) as threads:
        answers = [threads.submit(one, act) for act in acts]
        # In short waits: the kernel may give a signal to any thread, and only ours handles it, when it wakes. For one
        # after the other: of thousands, looking at all of them each time takes longer than what they do.
        for answer in answers:
            while wait([answer], timeout=0.1).not_done:
                pass
        return [answer.result() for answer in answers]


def agree(answers: Sequence[Answer[Any]]) -> None:
    """See to it that all went well.

    Raises:
        KitError: the error, where there was one cloud; all of them in one, where all failed.
        PartlyFailed: some failed and some did not.
        Interrupted: the caller stopped it.
    """
    settle([(answer.cloud.name, answer.error) for answer in answers])


def settle(told: Sequence[tuple[str, KitError | None]]) -> None:
    """The same, of whatever has these names, and ended with these errors or with none.

    Raises:
        KitError, PartlyFailed, Interrupted: as `agree`.
    """
    if error := whole(told):
        raise error


def whole(told: Sequence[tuple[str, KitError | None]]) -> KitError | None:
    """The one error that these come to; none, where all went well."""
    errors = [(name, error) for name, error in told if error]
    if not errors:
        return None
    first = errors[0][1]
    if len(told) == 1:
        return first
    for _, error in errors:
        if isinstance(error, Interrupted):
            return error
    words = "; ".join(f"{name}: {error.message}" for name, error in errors)
    hint = "; ".join(dict.fromkeys(f"{name}: {error.hint}" for name, error in errors if error.hint))
    if len(errors) < len(told):
        return PartlyFailed(words, hint=hint)
    alike = all(error.exit_code == first.exit_code for _, error in errors)
    together = KitError(words, hint=hint)
    together.exit_code = first.exit_code if alike else KitError.exit_code
    return together
