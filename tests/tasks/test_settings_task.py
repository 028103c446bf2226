"""./inv settings: every value, and who says so."""

from __future__ import annotations

from tests.tasks.conftest import Computer


def test_every_value_has_its_origin(computer: Computer) -> None:
    ran = computer.inv("settings", "--json", KM_LOCAL__CPUS="4", KM_IMAGES__CLOUDS="local, local")
    found = {row["name"]: (row["value"], row["origin"]) for row in ran.json}
    assert found["local.cpus"] == (4, "KM_LOCAL__CPUS")
    assert found["images.clouds"] == (["local", "local"], "KM_IMAGES__CLOUDS")
    assert found["packer.binary"] == ("packer", "settings.toml")
    plugins, origin = found["packer.plugins"]
    assert set(plugins) == {"amazon", "azure", "qemu"} and origin == "settings.toml"


def test_a_person_gets_a_table(computer: Computer) -> None:
    ran = computer.inv("settings", KM_LOCAL__CPUS="4")
    assert ["local.cpus", "4", "KM_LOCAL__CPUS"] in [line.split() for line in ran.out.splitlines()]


def test_a_variable_that_is_no_setting_is_two_lines_that_name_it(computer: Computer) -> None:
    ran = computer.inv("settings", KM_LOCAL__CPU="4")
    assert ran.code == 2
    assert ran.out == ""
    error, hint = ran.err.splitlines()
    assert "KM_LOCAL__CPU" in error
    assert hint.startswith("hint: ")


def test_an_address_is_shown_without_its_password(computer: Computer) -> None:
    ran = computer.inv("settings", KM_LOCAL__BASE_URL="https://ann:sesame@example.org/base?sig=sesame")
    assert "https://example.org/base" in ran.out and "sesame" not in ran.out + ran.err
