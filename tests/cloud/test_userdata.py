"""What cloud-init is told: read back by the parser that it uses (PyYAML), and by jq's and ours."""

from __future__ import annotations

import json

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cloud import userdata

# Everything that can be a file's text; a lone half of a character can't.
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts, st.lists(texts, max_size=3), st.booleans())
@example("kontain", ["ssh-ed25519 AAAA ann@laptop 😀"], True)
@example("a: b # c", ["{{ x }}", "<<: *x", "\\ud83d\\ude00\x85\u2028\x7f"], False)
def test_names_and_keys_arrive_as_they_are_whatever_is_in_them(user: str, keys: list[str], sudo: bool) -> None:
    data = userdata.login(user, keys, sudo=sudo)
    written = userdata.write(data)
    first, rest = written.split("\n", 1)
    assert first == "#cloud-config"
    for read in (yaml.safe_load(written), json.loads(rest)):
        assert read == data
        (entry,) = read["users"]
        assert (entry["name"], entry["ssh_authorized_keys"]) == (user, keys)
        assert ("sudo" in entry) == sudo


@given(texts, texts)
@example("i-😀", "host")
def test_metadata_arrives_as_it_is(instance: str, hostname: str) -> None:
    told = {"instance-id": instance, "local-hostname": hostname}
    written = userdata.metadata(instance, hostname)
    assert yaml.safe_load(written) == json.loads(written) == told


def test_nobody_logs_in_with_a_password() -> None:
    assert userdata.login("kontain", ["key"])["ssh_pwauth"] is False


def test_the_host_key_comes_with_a_login_and_leaves_the_images_own_keys_to_be_seen() -> None:
    data = userdata.login("kontain", ["key"]) | userdata.host_key("PRIVATE\nKEY\n", "PUBLIC")
    read = yaml.safe_load(userdata.write(data))
    assert read["ssh_keys"] == {"ed25519_private": "PRIVATE\nKEY\n", "ed25519_public": "PUBLIC"}
    assert read["ssh_deletekeys"] is False
    assert read["users"] == data["users"]


def test_equal_data_is_written_equally() -> None:
    one = {"a": 1, "b": [2]}
    assert userdata.write(one) == userdata.write(dict(reversed(one.items())))
