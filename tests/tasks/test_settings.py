"""Settings: three layers, each value with its origin, and what is wrong is one line with file and key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud.errors import InputError
from tasks import _settings

ROOT = Path(__file__).resolve().parents[2]
TYPES = {
    f"{section.name}.{field.name}": field.type
    for section in msgspec.structs.fields(_settings.Settings)
    for field in msgspec.structs.fields(section.type)
}
NAMES = sorted(TYPES)


def own(folder: Path, text: str | bytes) -> Path:
    """One's own file of settings."""
    path = folder / "settings.local.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def variable(name: str) -> str:
    return f"KM_{name.replace('.', '__').upper()}"


def of(settings: _settings.Settings, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(settings, section), key)


def refused(environment: dict[str, str], path: Path) -> str:
    """The one line that says what is wrong."""
    with pytest.raises(InputError) as error:
        _settings.load(environment, path)
    assert len(error.value.message.splitlines()) == 1 and error.value.hint and error.value.exit_code == 2
    return error.value.message


def is_one_line(error: InputError, start: str, name: str = "") -> None:
    assert error.message.startswith(start) and name in error.message and len(error.message.splitlines()) == 1


class TestTheLayers:
    def test_begin_with_the_projects_own_file_which_is_complete(self, tmp_path: Path) -> None:
        told = _settings.origins({}, tmp_path / "none")
        assert sorted(value.name for value in told) == NAMES
        assert {value.origin for value in told} == {"settings.toml"}
        assert _settings.load({}, tmp_path / "none").local.cpus == 2

    def test_go_on_with_a_file_of_ones_own_and_end_with_the_environment(self, tmp_path: Path) -> None:
        path = own(tmp_path, "[local]\ncpus = 3\nmemory = 512\n")
        settings = _settings.load({"KM_LOCAL__CPUS": "4"}, path)
        assert (settings.local.cpus, settings.local.memory, settings.local.disk) == (4, 512, 20)
        told = _settings.origins({"KM_LOCAL__CPUS": "4"}, path)
        origins = {value.name: (value.value, value.origin) for value in told}
        assert origins["local.cpus"] == (4, "KM_LOCAL__CPUS")
        assert origins["local.memory"] == (512, "settings.local.toml")
        assert origins["local.disk"] == (20, "settings.toml")

    def test_are_the_same_wherever_one_stands(self, tmp_path: Path) -> None:
        script = "from tasks import _settings; print(_settings.load().local.cpus)"
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "KM_LOCAL__CPUS": "7"}
        ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, check=True)
        assert ended.stdout == b"7\n"

    def test_take_a_table_as_a_whole_from_a_file(self, tmp_path: Path) -> None:
        path = own(tmp_path, '[packer.plugins]\namazon = "1.8.2"\n')
        assert _settings.load({}, path).packer.plugins == {"amazon": "1.8.2"}

    def test_do_not_take_a_table_from_a_variable(self, tmp_path: Path) -> None:
        for name in ("KM_PACKER__PLUGINS", "KM_PACKER__PLUGINS__QEMU"):
            assert refused({name: "1.1.4"}, tmp_path / "none").startswith(f"{name}: ")

    def test_take_a_list_from_a_variable_with_commas(self, tmp_path: Path) -> None:
        assert _settings.load({"KM_IMAGES__CLOUDS": "local, aws,"}, tmp_path / "none").images.clouds == ["local", "aws"]
        assert _settings.load({"KM_IMAGES__CLOUDS": ""}, tmp_path / "none").images.clouds == []

    def test_leave_other_variables_alone(self, tmp_path: Path) -> None:
        assert _settings.load({"KMS_KEY": "x", "LOCAL__CPUS": "9"}, tmp_path / "none").local.cpus == 2


class TestAFileThatIsWrong:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[lcoal]\ncpus = 1", "lcoal"),
            ("[local]\ncpu = 1", "local.cpu"),
            ("cpus = 1", "'cpus'"),
            ('[local]\ncpus = "2"', "local.cpus"),
            ("[local]\ncpus = 0", "local.cpus"),
            ("[local]\ncpus = true", "local.cpus"),
            ("[local]\nstore = 5", "local.store"),
            ('[local]\naccelerator = "hvf"', "local.accelerator"),
            ('[local]\nbase_sha256 = "abc"', "local.base_sha256"),
            ('[images]\nclouds = "local"', "images.clouds"),
            ("[packer.plugins]\nqemu = 1", "packer.plugins"),
            ("[local\n", "line"),
            ("[local]\ncpus = 1\ncpus = 2", "overwrite"),
            (b"[local]\nstore = '\xff'", "utf-8"),
            ("a = " + "[" * 5000, ""),
            ("['']\n'' = 1", ""),
            ("[local]\n'cp\\nus' = 1", "local.cp"),
        ],
    )
    def test_is_named_with_the_key_in_one_line(self, text: str | bytes, said: str, tmp_path: Path) -> None:
        message = refused({}, own(tmp_path, text))
        assert message.startswith("settings.local.toml: ") and said in message

    def test_may_be_the_projects_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = (ROOT / "settings.toml").read_text()
        monkeypatch.setattr(_settings, "DEFAULTS", tmp_path / "settings.toml")
        (tmp_path / "settings.toml").write_text(text.replace("cpus = 2\n", ""))
        message = refused({}, tmp_path / "none")
        assert message.startswith("settings.toml") and "cpus" in message
        (tmp_path / "settings.toml").unlink()
        assert refused({}, tmp_path / "none").startswith("settings.toml: ")


class TestAVariableThatIsWrong:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("KM_LOCAL__CPU", "1"),
            ("KM_LCOAL__CPUS", "1"),
            ("KM_LOCAL_CPUS", "1"),
            ("KM_", "1"),
            ("KM___", "1"),
            ("KM_LOCAL__", "1"),
            ("KM_LOCAL__CPUS", "two"),
            ("KM_LOCAL__CPUS", ""),
            ("KM_LOCAL__CPUS", "0"),
            ("KM_LOCAL__CPUS", "1.5"),
            ("KM_LOCAL__ACCELERATOR", "hvf"),
            ("KM_PACKER__MINIMUM", "1.14"),
        ],
    )
    def test_is_named_in_one_line(self, name: str, value: str, tmp_path: Path) -> None:
        assert name in refused({name: value}, tmp_path / "none")


texts = st.text(st.characters(exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["null", "None", "true", "-1", "007", " 3 ", "1_0", "+4", "1e2", "0x1F", "\uff13", "[]", "{}", "~"]
)


@given(st.sampled_from([name for name in NAMES if name != "packer.plugins"]), texts)
@example("local.cpus", "8")
@example("azure.secure_boot", "TRUE")
@example("runners.poll", "0.5")
def test_any_text_in_a_variable_arrives_exactly_or_the_variable_is_named(name: str, text: str) -> None:
    try:
        value = of(_settings.load({variable(name): text}, Path("/nonexistent")), name)
    except InputError as error:
        is_one_line(error, f"{variable(name)}: ")
        value = None
    if value is None:
        assert TYPES[name] is not str
        return
    if isinstance(value, bool):
        assert value == {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    elif isinstance(value, int | float):
        assert float(text) == value
    elif isinstance(value, list):
        assert value == [word.strip() for word in text.split(",") if word.strip()]
    else:
        assert value == text


@pytest.mark.parametrize(("name", "text"), [("packer.minimum", "1.14.1\n"), ("local.base_sha256", "a" * 64 + "\n")])
def test_a_line_end_after_a_version_or_a_sum_is_refused(name: str, text: str, tmp_path: Path) -> None:
    assert refused({variable(name): text}, tmp_path / "none").startswith(variable(name))


scalars = st.text(max_size=8) | st.integers(-(2**63), 2**63 - 1) | st.booleans()
values = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)


@given(st.sampled_from([*NAMES, "local.other", "other.key"]), values)
def test_any_value_in_a_file_arrives_exactly_or_the_file_is_named(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: Any
) -> None:
    section, key = name.split(".")
    written = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    path = own(tmp_path_factory.getbasetemp(), f"[{section}]\n{key} = {written}\n")
    try:
        found = of(_settings.load({}, path), name)
    except InputError as error:
        is_one_line(error, "settings.local.toml: ", name)
        return
    assert found == value and type(found) is type(value)


_MANY_AT_ONCE = """
import sys, threading
from tasks import _settings
sys.setswitchinterval(1e-6)
ready = threading.Barrier(16)
def load():
    ready.wait()
    _settings.load()
threads = [threading.Thread(target=load) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_many_threads_may_be_the_first_to_load_them() -> None:
    """doctor's checks once did, and msgspec crashed one process in twenty."""
    for _ in range(20):
        subprocess.run([sys.executable, "-P", "-c", _MANY_AT_ONCE], env={"PYTHONPATH": str(ROOT)}, check=True)


def test_reading_them_loads_no_sdk_of_a_cloud() -> None:
    heavy = "import sys, tasks._settings as settings; settings.load(); "
    heavy += "print(*{'boto3', 'azure', 'requests', 'pycdlib'} & set(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-P", "-c", heavy], env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == ""


def test_working_here_loads_no_sdk_of_another_cloud(tmp_path: Path) -> None:
    look = "import runpy, sys; sys.argv = ['inv', 'images.list', '--cloud', 'local']\n"
    look += "try: runpy.run_module('tasks', run_name='__main__')\n"
    look += "finally: print(*{'boto3', 'azure'} & set(sys.modules), file=sys.stderr)"
    env = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    told = subprocess.run([sys.executable, "-c", look], env=env, check=False, capture_output=True, text=True)
    assert "no builds" in told.stdout and told.stderr.strip() == ""
