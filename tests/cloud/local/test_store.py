"""The store's folders: whole or not there, nobody else's, and locks that die with their holder."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud import names
from cloud.base import Image, Order
from cloud.errors import InputError, KitError
from cloud.files import lock, write_json
from cloud.local.machines import LocalMachines
from cloud.local.store import Store
from tasks import _settings

ROOT = Path(__file__).resolve().parents[3]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestAStore:
    def test_is_the_callers_alone_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            store = Store.at(str(tmp_path / "a" / "store"))
            write_json(store.root / "x.json", {})
            with lock(store.bases / "x.lock"):
                pass
        finally:
            os.umask(before)
        for folder in (store.root, store.bases, store.builds, store.images, store.machines, store.runners):
            assert mode(folder) == 0o700, folder
        assert mode(store.root / "x.json") == mode(store.bases / "x.lock") == 0o600

    def test_is_in_the_users_data_folder_when_nothing_is_set(self) -> None:
        assert Store.at("").root == Path(os.environ["XDG_DATA_HOME"], "kontain")

    def test_may_be_named_from_the_home(self) -> None:
        assert Store.at("~/my images").root == Path(os.environ["HOME"], "my images")

    def test_may_be_there_already_with_what_is_in_it(self, tmp_path: Path) -> None:
        (Store.at(str(tmp_path)).images / "a").mkdir()
        assert (Store.at(str(tmp_path)).images / "a").is_dir()

    @pytest.mark.parametrize("folder", ["/dev/null/x", "/tmp/a\0b", "/tmp/" + "x" * 300, "~no-such-user/x"])
    def test_that_cannot_be_is_bad_input_and_says_what_to_set(self, folder: str) -> None:
        with pytest.raises(InputError, match="can't keep images in") as refused:
            Store.at(folder)
        assert "KM_LOCAL__STORE" in refused.value.hint

    def test_remembers_its_runners_for_as_long_as_they_may_be_anywhere(self, tmp_path: Path) -> None:
        store = Store.at(str(tmp_path))
        store.remember("old")
        os.utime(store.runners / "old", (0, 0))
        store.remember("new")
        assert [Store.at(str(tmp_path)).remembers(name) for name in ("new", "old", "", "../images")] == [
            *(True, False, False, False)
        ]

    def test_has_a_note_of_a_runner_before_anything_of_its_vm_is_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: object) -> None:
            raise KitError("no VM")

        monkeypatch.setattr(LocalMachines, "_furnish", never)
        machines = LocalMachines(Store.at(str(tmp_path)), _settings.load().local)
        image = Image("local", "I", "I-1", "/nowhere", 0, datetime.now(UTC))
        with pytest.raises(KitError, match="no VM"):
            machines.create(Order("local-runner-CI-1", image, "1x256", "kontain", {}, {names.RUNNER: "it-1f2e3d"}))
        assert machines.had("it-1f2e3d") and not machines.had("it-aaaaaa")

    def test_knows_how_much_room_there_is(self, tmp_path: Path) -> None:
        assert Store.at(str(tmp_path)).free() == pytest.approx(os.statvfs(tmp_path).f_bavail * 4096, rel=0.2)
