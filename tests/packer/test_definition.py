"""Definitions: data that is either right or one line with file and place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloud.errors import InputError
from packer.definition import DEFINITIONS, PROVISION, Definition, load

GOOD: dict[str, Any] = {
    "name": "Image",
    "description": "a test",
    "user": "kontain",
    "steps": ["packages", "user"],
    "base": {"local": {"packages": ["sudo"], "kernel": {"debian": ["linux"]}}},
    "tool": [{"name": "git", "source": "apt", "version": "2", "check": "git --version", "clouds": ["local"]}],
}


def toml(value: Any) -> str:
    """The value as TOML."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def written(folder: Path, told: dict[str, Any]) -> Path:
    path = folder / "a.toml"
    path.write_text("".join(f"{toml(key)} = {toml(value)}\n" for key, value in told.items()), "utf-8")
    return path


def but(*place: str | int, value: Any) -> dict[str, Any]:
    """The good definition with another value in one place."""
    changed: Any = json.loads(json.dumps(GOOD))
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return dict(changed)


def used(path: Path) -> None:
    """All that becomes of a definition before anything is touched."""
    definition = load(path)
    for cloud in definition.base:
        definition.base_on(cloud)
        definition.tools(cloud)


def is_one_line_with_the_file(error: InputError) -> None:
    assert error.message.startswith("a.toml: ") and len(error.message.splitlines()) == 1
    assert error.hint and error.exit_code == 2


URL, KEY = "https://example.org/apt", "https://example.org/key"
PRINT, SUM = "A" * 40, "a" * 64

WRONG: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("name",), "a b", "'a b' can't name an image"),
    (("name",), 5, "$.name"),
    (("user",), "root; id", "$.user"),
    (("user",), "kontain\n", "$.user"),
    (("steps",), "packages", "$.steps"),
    (("steps",), ["../../etc/passwd"], "$.steps[0]"),
    (("steps",), ["packages\n"], "$.steps[0]"),
    (("steps",), ["no-such-step"], "'no-such-step' has no no-such-step.sh"),
    (("base",), ["local"], "$.base"),
    (("base", "local"), "x", "$.base[...]"),
    (("base", "local", "packages"), "sudo", "$.base[...].packages"),
    (("base", "local", "packages"), ["sudo --force"], "$.base[...].packages[0]"),
    (("base", "local", "kernel"), "linux", "$.base[...].kernel"),
    (("base", "local", "url"), 5, "$.base[...].url"),
    (("base", "local", "sha256"), "abc", "$.base[...].sha256"),
    (("base", "local", "pakcages"), [], "`pakcages`"),
    (("tool", 0, "source"), "pip", "tool git comes from 'pip', which is no repository"),
    (("tool", 0, "source"), "a b", "$.tool[0].source"),
    (("tool", 0, "optional"), "no", "$.tool[0].optional"),
    (("optional",), ["git"], "there is no optional tool 'git'"),
    (("repository",), {"x": {"url": "file:///x", "key": KEY, "fingerprint": PRINT}}, "$.repository[...].url"),
    (("repository",), {"x": {"url": URL, "key": KEY, "fingerprint": "ABCD1234"}}, "$.repository[...].fingerprint"),
    (
        ("repository",),
        {"x": {"url": URL, "key": KEY, "fingerprint": PRINT, "suite": "a\tb"}},
        "$.repository[...].suite",
    ),
    (("repository",), {"x": {"url": URL, "key": KEY}}, "`fingerprint`"),
    (("download",), [{"url": URL, "to": "/opt/x", "clouds": ["local"]}], "`sha256`"),
    (("download",), [{"url": URL, "sha256": "ab", "to": "/opt/x", "clouds": ["local"]}], "$.download[0].sha256"),
    (("download",), [{"url": URL, "sha256": SUM, "to": "/opt/../x y", "clouds": []}], "$.download[0].to"),
    (("download",), [{"url": URL, "sha256": SUM, "to": "/opt/x", "clouds": ["mars"]}], "/opt/x is for 'mars'"),
    (("tool", 0, "check"), "a\tb", "$.tool[0].check"),
    (("tool", 0, "check"), "a\n", "$.tool[0].check"),
    (("tool", 0, "version"), "new", "$.tool[0].version"),
    (("tool", 0, "clouds"), ["lcoal"], "tool git is for 'lcoal'"),
    (("tool", 0, "name"), "a b", "$.tool[0].name"),
    (("tool", 0, "sauce"), "apt", "`sauce`"),
    (("folder",), "/tmp", "$.folder"),
    (("provision",), "nowhere", "has no packages.sh"),
    (("provision",), "a\0b", "has no packages.sh"),
    (("typo",), 1, "`typo`"),
]


class TestAVendorsTool:
    def of(self, tmp_path: Path, version: str) -> Definition:
        told = but("repository", value={"vendor": {"url": URL, "key": KEY, "fingerprint": PRINT}})
        told["tool"] = [*told["tool"], {**told["tool"][0], "name": "answer", "source": "vendor", "version": version}]
        return load(written(tmp_path, told))

    def test_brings_its_repository_to_the_clouds_that_it_is_on(self, tmp_path: Path) -> None:
        definition = self.of(tmp_path, "1.2.3")
        assert list(definition.repositories("local")) == ["vendor"]
        assert definition.repositories("aws") == {}

    def test_is_of_one_version(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="tool answer comes from a vendor and has no version"):
            self.of(tmp_path, "")

    def test_stays_out_of_a_bootstrap(self, tmp_path: Path) -> None:
        assert "answer" not in self.of(tmp_path, "1.2.3").base_on("local")["packages"]


class TestAnOptionalTool:
    def test_is_there_when_it_is_asked_for(self, tmp_path: Path) -> None:
        path = written(tmp_path, but("tool", 0, "optional", value=True))
        assert load(path).tools("local") == []
        assert [tool.name for tool in load(path, optional=["git"]).tools("local")] == ["git"]


def test_one_name_is_one_tool_on_a_cloud(tmp_path: Path) -> None:
    told = but("tool", 0, "version", value="1")
    told["tool"] = [*told["tool"], told["tool"][0]]
    with pytest.raises(InputError, match="there are two tools git on local"):
        load(written(tmp_path, told))


def test_every_vendor_of_the_base_image_is_pinned() -> None:
    definition = load(DEFINITIONS / "l0base.toml")
    for name, repository in definition.repository.items():
        assert repository.url.startswith("https://") and repository.key.startswith("https://"), name
    assert {tool.name for tool in definition.tools("aws")} >= {
        *("docker", "buildx", "compose", "azure-cli", "kubectl", "vagrant", "packer", "qemu", "libvirt"),
    }
    assert "virtualbox" not in {tool.name for tool in definition.tools("aws")}


class TestADefinition:
    def test_that_is_right_is_read(self, tmp_path: Path) -> None:
        definition = load(written(tmp_path, GOOD))
        assert (definition.name, definition.user, definition.steps) == ("Image", "kontain", ["packages", "user"])
        assert definition.folder == PROVISION

    def test_gets_another_name_when_one_is_asked_for(self, tmp_path: Path) -> None:
        assert load(written(tmp_path, GOOD), "Other").name == "Other"
        with pytest.raises(InputError, match=r"^--name: 'a b' can't name an image"):
            load(written(tmp_path, GOOD), "a b")

    def test_takes_its_tools_from_apt_with_its_base(self, tmp_path: Path) -> None:
        told = but("tool", 0, "package", value="git-core")
        assert load(written(tmp_path, told)).base_on("local")["packages"] == ["sudo", "git-core"]

    def test_says_for_which_clouds_it_has_no_base(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Image has no base on aws"):
            load(written(tmp_path, GOOD)).base_on("aws")

    def test_may_have_scripts_of_its_own_beside_it(self, tmp_path: Path) -> None:
        for step in ("packages", "user", "clean"):
            for end in (".sh", ".check.sh"):
                (tmp_path / "own").mkdir(exist_ok=True)
                (tmp_path / "own" / f"{step}{end}").touch()
        assert load(written(tmp_path, {**GOOD, "provision": "own"})).folder == tmp_path / "own"

    @pytest.mark.parametrize(("place", "value", "said"), WRONG)
    def test_that_is_wrong_is_told_in_one_line_with_file_and_place(
        self, place: tuple[str | int, ...], value: Any, said: str, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError) as refused:
            used(written(tmp_path, but(*place, value=value)))
        is_one_line_with_the_file(refused.value)
        assert said in refused.value.message

    @pytest.mark.parametrize("key", sorted(set(GOOD) - {"tool"}))
    def test_that_lacks_something_is_told_what(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=f"a.toml: .*`{key}`"):
            load(written(tmp_path, {name: value for name, value in GOOD.items() if name != key}))

    @pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = " + b"[" * 5000, b"\0", b""])
    def test_that_is_no_toml_is_told_in_one_line_with_the_file(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_bytes(content)
        with pytest.raises(InputError, match=r"^a\.toml: "):
            load(tmp_path / "a.toml")

    @pytest.mark.parametrize("path", ["/no/such/file.toml", "/", "/etc\0/x"])
    def test_that_is_not_there_is_not_found(self, path: str) -> None:
        with pytest.raises(InputError) as refused:
            load(Path(path))
        assert refused.value.hint

    def test_is_looked_for_in_the_project_wherever_one_stands(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert load(Path("packer/definitions/l0base.toml")).name == "L0BaseImage"
        monkeypatch.undo()


scalars = st.none().flatmap(
    lambda _: (
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
        | st.integers(-(2**63), 2**63 - 1)
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False)
    )
)
keys = st.sampled_from(["local", "packages", "kernel", "url", "name", "debian", ""]) | st.text("ab\"'. \t", max_size=4)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
places = st.sampled_from(
    [("name",), ("description",), ("user",), ("steps",), ("steps", 0), ("base",), ("base", "local"), ("base", "aws")]
    + [("base", "local", key) for key in ("packages", "kernel", "url", "sha256", "other")]
    + [("tool",), ("tool", 0), ("provision",), ("folder",), ("other",)]
    + [("tool", 0, key) for key in ("name", "source", "version", "check", "clouds", "package", "other")]
)


@settings(max_examples=400)
@given(place=places, value=values)
@example(place=("base", "local", "packages"), value=5)
@example(place=("base", "local", "kernel"), value={"debian": "linux"})
@example(place=("base", "local"), value=[])
def test_any_value_in_any_place_is_right_or_one_line_with_the_file(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str | int, ...], value: Any
) -> None:
    path = written(tmp_path_factory.getbasetemp(), but(*place, value=value))
    try:
        used(path)
    except InputError as error:
        is_one_line_with_the_file(error)


class TestL0Base:
    @pytest.fixture
    def l0base(self) -> Definition:
        return load(DEFINITIONS / "l0base.toml")

    def test_has_every_tool_that_was_asked_for_and_looks_for_each(self, l0base: Definition) -> None:
        tools = {tool.name: tool for tool in l0base.tools("local")}
        assert {"git", "make", "makeself", "gcc", "jq", "curl", "docker"} <= set(tools)
        for tool in tools.values():
            assert tool.check.split()[0] == tool.name and len(tool.check.split()) > 1

    def test_has_scripts_for_every_step_and_a_check_that_tells_something(self, l0base: Definition) -> None:
        assert {"packages", "kernel", "docker", "user", "core-pattern", "record"} <= set(l0base.steps)
        for step in (*l0base.steps, "clean"):
            assert (PROVISION / f"{step}.sh").stat().st_size > 0
            check = (PROVISION / f"{step}.check.sh").read_text()
            assert any(word in check for word in ("ok ", "same ", "failed ")), step

    def test_has_no_step_twice(self, l0base: Definition) -> None:
        assert len(set(l0base.steps)) == len(l0base.steps) and "clean" not in l0base.steps

    def test_brings_the_tools_from_apt_and_a_kernel_with_its_base(self, l0base: Definition) -> None:
        base = l0base.base_on("local")
        assert {"git", "makeself", "docker.io", "cloud-init", "sudo"} <= set(base["packages"])
        assert set(base["kernel"]) == {"debian", "ubuntu"}


def test_every_definition_of_ours_is_right() -> None:
    for path in sorted(DEFINITIONS.glob("*.toml")):
        used(path)
        assert msgspec.toml.decode(path.read_bytes())["name"] == load(path).name
    assert os.listdir(DEFINITIONS)
