"""The part of Azure's template language that deployments here are written in, ours and packer's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:'(?P<text>[^']*)'|(?P<name>[A-Za-z]\w*)|(?P<sign>[(),.]))")


def resources(template: Mapping[str, Any], given: Mapping[str, Any], group: str, location: str) -> list[dict[str, Any]]:
    """The resources of a template, with everything in brackets worked out.

    Raises:
        KeyError: it uses a parameter that nobody gave, or a function that is not known here.
    """
    told = {name: each["value"] for name, each in given.items() if "value" in each}
    of_group = {"id": group, "name": group.rpartition("/")[2], "location": location}
    variables: dict[str, Any] = {}

    def resource_id(*words: str) -> str:
        where = group
        if "/" not in words[0]:
            where, words = f"{group.rpartition('/')[0]}/{words[0]}", words[1:]
        provider, *kinds = words[0].split("/")
        parts = [part for pair in zip(kinds, words[1:], strict=True) for part in pair]
        return "/".join([where, "providers", provider, *parts])

    functions: dict[str, Callable[..., Any]] = {
        "parameters": lambda name: told[name],
        "variables": lambda name: worked_out(variables[name]),
        "concat": lambda *words: "".join(words),
        "resourceId": resource_id,
        "resourceGroup": lambda: of_group,
    }

    def expression(tokens: list[tuple[str, str]]) -> Any:
        kind, word = tokens.pop(0)
        if kind == "text":
            return word
        function = functions[word]
        arguments: list[Any] = []
        assert tokens.pop(0) == ("sign", "("), word
        while tokens[0] != ("sign", ")"):
            arguments.append(expression(tokens))
            if tokens[0] == ("sign", ","):
                tokens.pop(0)
        tokens.pop(0)
        value = function(*arguments)
        while tokens and tokens[0] == ("sign", "."):
            value = value[tokens[1][1]]
            del tokens[:2]
        return value

    def worked_out(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: worked_out(each) for key, each in value.items()}
        if isinstance(value, list):
            return [worked_out(each) for each in value]
        if isinstance(value, str) and value.startswith("[") and not value.startswith("[["):
            found = [(str(each.lastgroup), str(each[str(each.lastgroup)])) for each in _TOKEN.finditer(value[1:-1])]
            return expression(found)
        return value

    variables.update(template.get("variables", {}))
    return [dict(worked_out(each)) for each in template["resources"]]
