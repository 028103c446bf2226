"""What decides about runner VMs, without any VM: who is due, who is meant, whose keys, what was told."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import console, names, runners, userdata, wait
from cloud.base import Vm
from cloud.errors import InputError, NotFound

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
GRACE = timedelta(minutes=10)
HOUR = timedelta(hours=1)


class Standing(wait.Clock):
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "clock", Standing())


def vm(state: str = "running", *, kind: str = "runner", **moments: timedelta) -> Vm:
    """A VM with moments in its tags, told by how far from now they are."""
    keys = {"expires": names.EXPIRES, "doomed": names.DOOMED, "resumed": names.RESUMED}
    tags = {keys[key]: names.moment(NOW + away) for key, away in moments.items()}
    made = Vm("local", "a-1", "a", "running", "", "1x256", NOW - HOUR, {names.KIND: kind, **tags})
    return replace(made, state=state)  # type: ignore[arg-type]  # hypothesis draws them as texts


def what(*vms: Vm) -> list[str]:
    return [each.what for each in runners.due(vms, GRACE)]


class TestTheReaper:
    def test_leaves_alone_whose_time_is_not_over(self) -> None:
        assert what(vm(expires=HOUR), vm("stopped", expires=HOUR)) == []

    def test_erases_a_stopped_one_at_once(self) -> None:
        assert what(vm("stopped", expires=-HOUR)) == ["erase"]

    def test_looks_twice_at_one_that_runs(self) -> None:
        assert what(vm(expires=-HOUR)) == ["doom"]
        assert what(vm(expires=-HOUR, doomed=-GRACE / 2)) == []
        assert what(vm(expires=-HOUR, doomed=-GRACE)) == ["erase"]

    def test_spares_one_that_was_extended_meanwhile(self) -> None:
        assert what(vm(expires=HOUR, doomed=-GRACE)) == ["spare"]

    def test_defect_29_stops_one_that_somebody_started_and_forgot(self) -> None:
        assert what(vm(expires=HOUR, resumed=-HOUR)) == ["stop"]
        assert what(vm(expires=HOUR, resumed=HOUR)) == []
        assert what(vm("stopped", expires=HOUR, resumed=-HOUR)) == []

    def test_defect_5_erases_what_runs_and_what_is_stopped_alike_in_the_end(self) -> None:
        for state in ("running", "stopped", "starting", "stopping"):
            assert what(vm(state, expires=-HOUR, doomed=-GRACE)) == ["erase"], state

    def test_defect_28_goes_by_the_tag_and_never_by_the_age(self) -> None:
        old = replace(vm(expires=HOUR), created=NOW - timedelta(days=400))
        assert what(old) == []

    @given(st.text(), st.sampled_from(["running", "stopped"]))
    def test_never_touches_what_is_not_ours_or_tells_no_time(self, text: str, state: str) -> None:
        other = vm(state, kind=text if text != "runner" else "", expires=-HOUR, doomed=-HOUR)
        unreadable = replace(vm(state), tags={names.KIND: "runner", names.EXPIRES: text, names.DOOMED: text})
        assert runners.due([other, unreadable], GRACE) == []


class TestAWord:
    one = replace(vm(), tags={names.LABEL: "local-runner-CI-7-aaaaaa", names.RUN_NUMBER: "7", names.WORKFLOW: "CI"})
    other = replace(vm(), id="b-2", name="b", tags={names.LABEL: "local-runner-CI-8-bbbbbb", names.RUN_NUMBER: "8"})

    @pytest.mark.parametrize("word", ["a-1", "a", "7", "local-runner-CI-7-aaaaaa", "CI"])
    def test_means_a_vm_by_id_name_number_label_or_workflow(self, word: str) -> None:
        assert runners.find(word, [self.one, self.other]) == [self.one]

    def test_means_all_vms_of_a_run(self) -> None:
        again = replace(self.one, id="a-3", cloud="aws")
        assert runners.find("7", [self.one, again, self.other]) == [self.one, again]

    @given(st.text())
    def test_that_means_nothing_is_said_to(self, word: str) -> None:
        if word not in {"b-2", "b", "8", "local-runner-CI-8-bbbbbb"}:
            with pytest.raises(NotFound) as refused:
                runners.find(word, [self.other])
            assert refused.value.hint == "./inv runners.list"


def public(comment: str = "") -> str:
    kind = b"ssh-ed25519"
    data = len(kind).to_bytes(4, "big") + kind + (32).to_bytes(4, "big") + bytes(32)
    return f"ssh-ed25519 {base64.b64encode(data).decode()} {comment}".strip()


class TestKeys:
    def test_are_those_of_the_folder_without_what_people_wrote_behind_them(self, tmp_path: Path) -> None:
        (tmp_path / "a.pub").write_text(public("$(reboot) `id` # me") + "\n")
        (tmp_path / "README.md").write_text("no key")
        assert runners.keys(tmp_path, tmp_path / "nobody") == (public(),)

    def test_defect_13_lack_nothing_when_a_file_lacks_its_last_line_end(self, tmp_path: Path) -> None:
        (tmp_path / "a.pub").write_text(public("a"))
        (tmp_path / "b.pub").write_text(f"# b\n\n{public('b')}\n")
        assert runners.keys(tmp_path, tmp_path) == (public(),)

    def test_are_the_callers_own_where_the_folder_has_none(self, tmp_path: Path) -> None:
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh/id_ed25519.pub").write_text(public("me@here"))
        assert runners.keys(tmp_path / "nothing", tmp_path) == (public(),)
        assert runners.keys(tmp_path / "nothing", tmp_path / "nobody") == ()

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_of_any_other_text_are_refused_with_the_file_named(self, text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "x.pub")
            file.write_bytes(text.encode())
            lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
            if not lines:
                assert runners.keys(Path(folder), Path(folder)) == ()
                return
            with pytest.raises(InputError, match=r"x\.pub"):
                runners.keys(Path(folder), Path(folder))


def told(**changes: object) -> userdata.Runner:
    base = userdata.Runner(
        user="kontain",
        keys=(public(),),
        ends=NOW + HOUR,
        patience=900,
        url="https://github.com/kontainapp/km",
        name="local-runner-CI-7-123456",
        labels=("local-runner-CI-7-aaaaaa",),
        download="https://example.com/runner.tar.gz",
        sha256="0" * 64,
        token="AAAA-registration",  # noqa: S106  # a canary
    )
    return replace(base, **changes)  # type: ignore[arg-type]


class TestUserData:
    def test_carries_values_as_data_and_none_in_a_line_of_shell(self) -> None:
        nasty = "$(reboot) `id` '\" ; \n \\ %"
        data = userdata.runner(told(name=nasty, url=nasty, labels=(nasty,), download=nasty))
        (given,) = [file for file in data["write_files"] if file["path"] == "/etc/kontain/runner.json"]
        assert json.loads(given["content"])["name"] == nasty
        rest = json.dumps([file for file in data["write_files"] if file != given]) + json.dumps(data["runcmd"])
        assert "reboot)" not in rest
        assert all(isinstance(command, list) for command in data["runcmd"])

    def test_defect_12_has_the_token_in_one_place_which_root_alone_may_read(self) -> None:
        data = userdata.runner(told())
        assert json.dumps(data).count("AAAA-registration") == 1
        (holder,) = [file for file in data["write_files"] if "AAAA-registration" in file["content"]]
        assert holder["permissions"] == "0600"
        assert "AAAA-registration" not in repr(told())
        assert "AAAA-reg" not in json.dumps(userdata.runner(told().forgotten()))

    def test_ends_the_vm_at_a_moment_that_is_in_utc(self) -> None:
        data = userdata.runner(told(url=""))
        (timer,) = [file for file in data["write_files"] if file["path"].endswith("kontain-expire.timer")]
        assert "OnCalendar=2026-11-25 13:00:00 UTC" in timer["content"]
        assert not any("runner.service" in file["path"] for file in data["write_files"])  # not asked to be one

    def test_that_is_more_than_ec2_takes_is_refused_before_anything_is_made(self) -> None:
        with pytest.raises(InputError, match="bytes"):
            userdata.runner(told(keys=tuple(f"{public()}{number}" for number in range(200))))

    def test_leaves_room_for_a_team_of_keys(self) -> None:
        userdata.runner(told(keys=tuple(f"{public()}{number}" for number in range(30))))


class TestAConsole:
    @pytest.mark.parametrize(
        ("line", "cause"),
        [
            ("An error: Runner version v2.300.0 is deprecated and cannot receive messages.", "does not accept"),
            ("curl: (22) The requested URL returned error: 404", "404"),
            ("curl: (6) Could not resolve host: github.com", "no network"),
            ("sha256sum: WARNING: 1 computed checksum did NOT match", "checksum"),
            ("tar: write error: No space left on device", "full"),
            ("The server time and local clock differ by 3600 s", "clock"),
            ("kontain: failed: registering x at https://github.com/a/b", "register"),
            ("Kernel panic - not syncing: VFS", "kernel"),
        ],
    )
    def test_tells_known_causes_with_the_line(self, line: str, cause: str) -> None:
        found = console.cause(f"Linux version 6.1\n{line}\nlogin:")
        assert cause in found and line[:40] in found

    @given(st.text())
    def test_of_any_other_text_tells_one_line_or_nothing(self, text: str) -> None:
        assert "\n" not in console.cause(text)
