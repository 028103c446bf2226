"""moto, without what it does anew for each call though the outcome is the same. What it answers is not changed."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from moto.core import responses, serialize, utils
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

_names = serialize.XFormedAttributePicker.get_possible_keys


def _tags(thing: Any) -> list[dict[str, str]]:
    """A thing's tags, by its id: moto looks through all the tags of all things, for every thing that it tells of."""
    kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(thing.id), "") if thing.id else ""
    tags = thing.ec2_backend.tags.get(thing.id, {}).copy()
    return [{"resource_id": thing.id, "key": key, "value": text, "resource_type": kind} for key, text in tags.items()]


def _known(
    picker: serialize.XFormedAttributePicker, context: serialize.AttributePickerContext
) -> Iterator[str] | list[str]:
    """By which names a value may be had: the same for all things of a class. They are kept with the shape."""
    thing = context.obj
    if context.shape is None or hasattr(thing, "Meta"):
        return _names(picker, context)
    kept: dict[tuple[str, type], list[str]] = context.shape.__dict__.setdefault("_names", {})
    about = (context.key, type(thing))
    if about not in kept:
        kept[about] = list(dict.fromkeys(_names(picker, context)))
    return kept[about]


@functools.cache
def quicken() -> None:
    """From now on, moto does it once."""
    for place, name, quicker in (
        (responses, "method_names_from_class", functools.cache(utils.method_names_from_class)),
        (TaggedEC2Resource, "get_tags", _tags),
        (serialize.XFormedAttributePicker, "get_possible_keys", _known),
    ):
        setattr(place, name, quicker)
