"""The micro guest stands for a systemd image with cloud-init: what others rely on, seen from outside, in two boots."""

from __future__ import annotations

import functools
import io
import shlex
import subprocess
import tarfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloud import ssh, userdata
from cloud.base import Machine
from cloud.local import qemu
from cloud.local.machines import write_seed
from tests.toolkit import eventually

pytestmark = pytest.mark.vm

UNITS = "/etc/systemd/system"
FAR = "2099-01-01 00:00:00 UTC"

WORKER = """\
#!/bin/sh
trap 'echo interrupted; exit 0' INT
echo "$# words: $*; $FROM_UNIT and $FROM_FILE; $(id -un) in $(pwd), at home in $HOME, $LEAKED."
sleep 1000
"""
FILES = {
    "/opt/worker": WORKER,
    "/etc/worker.env": '# a comment\nFROM_FILE="the file"\n',
    f"{UNITS}/worker.service": """\
[Unit]
Description=Works until it is stopped
ConditionPathExists=/opt/worker
ConditionPathExists=!/etc/idle

[Service]
User=kontain
WorkingDirectory=/opt
Environment=NONE= "FROM_UNIT=the unit" FROM_FILE=nothing
EnvironmentFile=-/etc/absent.env
EnvironmentFile=/etc/worker.env
ExecStartPre=-/bin/false
ExecStartPre=/bin/sh -c "echo 'before; > it'"
ExecStart=/opt/worker "${FROM_UNIT}" $FROM_UNIT $NONE > * \\
    100%% $$HOME
ExecStopPost=/bin/echo after
Restart=always
RestartSec=500ms
KillSignal=SIGINT
TimeoutStopSec=20
StandardOutput=journal+console

[Install]
WantedBy=multi-user.target
""",
    f"{UNITS}/stubborn.service": """\
[Service]
ExecStart=/bin/sh -c "trap '' TERM; sleep 1000"
TimeoutStopSec=10min

[Install]
WantedBy=multi-user.target
""",
    f"{UNITS}/leaves.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sleep 2000 & echo gone'\n",
    f"{UNITS}/fails.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo no luck; exit 3'\n",
    f"{UNITS}/dies.service": "[Service]\nExecStart=/bin/sh -c 'exit 3'\nRestart=on-failure\nRestartSec=300\n",
    f"{UNITS}/ends.service": "[Service]\nExecStart=/bin/sh -c 'exit 0'\nRestart=on-failure\nRestartSec=300\n",
    f"{UNITS}/tick.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo tick >> /var/log/ticks'\n",
    f"{UNITS}/tick.timer": "[Timer]\nOnActiveSec=1\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n",
    f"{UNITS}/booted.timer": "[Timer]\nOnBootSec=1\nUnit=tick.service\n",
    f"{UNITS}/past.timer": "[Timer]\nOnCalendar=2020-01-01 00:00:00 UTC\nUnit=tick.service\n",
    f"{UNITS}/later.timer": f"[Timer]\nOnCalendar={FAR}\nUnit=tick.service\n",
    f"{UNITS}/wipe.service": """\
[Service]
Type=oneshot
ExecStart=/bin/sh -c "echo $(id -un), the worker: $(tail -n 1 /var/log/worker.service.log) > /var/log/wiped"
ExecStart=/bin/sh -c "echo wiped > /dev/console"

[Install]
WantedBy=poweroff.target
""",
}


@dataclass(frozen=True)
class Guest:
    """A VM that runs, in a folder."""

    folder: Path
    keys: Mapping[str, str]
    shell: subprocess.Popen[str]
    """Root's in it, one for all commands: ssh takes longer than most of them."""

    def does(self, command: str) -> str:
        """Run a command as root; what it printed. It must end well."""
        code, told = self.tries(command)
        assert code == 0, told
        return told

    def tries(self, command: str) -> tuple[int, str]:
        """Run a command as root; its exit code and what it printed."""
        assert self.shell.stdin is not None and self.shell.stdout is not None  # both are pipes
        self.shell.stdin.write(f"sh -c {shlex.quote(command)} < /dev/null; printf '\\nended: %s\\n' $?\n")
        self.shell.stdin.flush()
        told = ""
        for line in self.shell.stdout:
            if line.startswith("ended: "):
                return int(line.split()[1]), told.strip("\n")
            told += line
        return 255, told

    def comes_to(self, command: str) -> str:
        """Run a command as root again and again until it ends well; what it printed then."""
        told = f"told=$(exec 2> /dev/null; {command}) && printf '%s\\n' \"$told\" && exit"
        return self.does(f"for try in $(seq 100); do {told}; sleep 0.2; done; exit 1")

    def console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace").replace("\r", "")


@contextmanager
def booted(folder: Path, keys: Mapping[str, str]) -> Iterator[Guest]:
    """The guest of that folder, until it is switched off."""
    qemu.start(folder, accelerator="tcg", cpus=1, memory=256)
    try:
        port, known_hosts = qemu.ssh_port(folder), folder / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} {keys['host']}\n")
        machine = Machine("local", "micro", "kontain", "127.0.0.1", port, (folder / "key",), known_hosts, patience=60)
        ssh.answers(machine)
        argv, pipe = ssh.command(machine, "sudo sh 2>&1"), subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as shell:
            guest = Guest(folder, keys, shell)
            guest.does("cloud-init status --wait")
            yield guest
    finally:
        qemu.unplug(folder)


def seed(folder: Path) -> Mapping[str, str]:
    """Write a guest's seed; the public keys in it."""
    keys = {name: ssh.make_key(folder / name, name) for name in ("key", "other", "host")}
    # The first is the one of who makes the VM, as the toolkit has it; then he comes again.
    data: dict[str, Any] = userdata.login("kontain", [keys["key"]], sudo=True)
    data |= userdata.host_key((folder / "host").read_text(), keys["host"])
    data["users"] += [
        {"name": "kontain", "groups": "elsewhere", "ssh_authorized_keys": [keys["key"], keys["other"]]},
        {"name": "ann", "groups": ["adm", "docker"], "sudo": ["ALL=(ALL) NOPASSWD:/bin/true"]},
    ]
    data["write_files"] = [
        *({"path": path, "content": text, "permissions": "0755"} for path, text in FILES.items()),
        {"path": "/srv/deep/binary", "content": b64encode(b"\0\xff\n").decode(), "encoding": "b64"},
        {"path": "/srv/text", "content": b64encode("ü\n".encode()).decode(), "encoding": "base64"},
        {"path": "/srv/secret", "content": "token-1234", "permissions": "0600", "owner": "ann:ann"},
        {"path": "/srv/hers", "content": "", "permissions": "0640", "owner": "ann:ann", "defer": True},
    ]
    data["runcmd"] = [
        ["sh", "-c", 'echo "once, at home in ${HOME-nowhere}" >> /var/log/commands'],
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", "wipe.service", "stubborn.service"],
        ["systemctl", "enable", "--now", "worker.service", "tick.timer"],
    ]
    write_seed(folder / "seed.iso", userdata.write(data), userdata.metadata("iid-micro", "micro-1"))
    return keys


@pytest.fixture(scope="module")
def guest(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A guest in its first boot."""
    folder = tmp_path_factory.mktemp("guest")
    keys = seed(folder)
    overlay = ["-q", "-f", "qcow2", "-F", "qcow2", "-b", str(disk), str(folder / "disk.qcow2")]
    subprocess.run(["qemu-img", "create", *overlay], check=True)
    with booted(folder, keys) as guest:
        yield guest


class TestCloudInit:
    def test_has_the_time_in_utc(self, guest: Guest) -> None:
        assert abs(int(guest.does("date +%s")) - time.time()) < 5
        assert guest.does("date +%Z") == "UTC"

    def test_writes_files_whatever_they_hold_and_whoever_is_to_have_them(self, guest: Guest) -> None:
        assert guest.does("xxd -p /srv/deep/binary; cat /srv/text") == "00ff0a\nü"
        # Whose user is not there yet: it stays root's, and the next file is written all the same.
        files = guest.does("stat -c '%U %a %n' /srv/secret /srv/hers; cat /srv/secret").splitlines()
        assert files == ["root 600 /srv/secret", "ann 640 /srv/hers", "token-1234"]

    def test_makes_users_and_leaves_to_one_who_exists_what_he_has(self, guest: Guest) -> None:
        told = guest.does("id -nG ann | tr ' ' '\\n' | sort; id -nG kontain; cat /home/kontain/.ssh/authorized_keys")
        assert told.splitlines() == ["adm", "ann", "docker", "kontain", guest.keys["key"], guest.keys["other"]]
        guest.does("su kontain -c 'sudo -n true' && su ann -c 'sudo -n /bin/true'")
        assert "password is required" in guest.tries("su ann -c 'sudo -n /bin/false'")[1]

    def test_keeps_copies_of_the_user_data_for_root_alone(self, guest: Guest) -> None:
        told = guest.does(
            "cd /var/lib/cloud; readlink instance; cd instance; stat -c %a user-data.txt cloud-config.txt\n"
            "cmp user-data.txt cloud-config.txt; grep -rl token-1234 /etc /run /tmp /var/lib"
        ).splitlines()
        assert told[:3] == ["instances/iid-micro", "600", "600"]
        assert {f"/var/lib/cloud/instances/iid-micro/{name}" for name in ("user-data.txt", "cloud-config.txt")} < set(
            told
        )
        assert all(path.startswith(("/var/lib/cloud/instances/iid-micro/", "/run/cloud-init/")) for path in told[3:])

    def test_runs_commands_that_have_no_home(self, guest: Guest) -> None:
        assert guest.does("cat /var/log/commands") == "once, at home in nowhere"


class TestPrograms:
    def test_curl_tar_and_the_rest_are_the_ones_that_the_path_names(self, guest: Guest, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "some.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo("some/file")
            member.size = 5
            archive.addfile(member, io.BytesIO(b"text\n"))
        handler = functools.partial(Quiet, directory=str(tmp_path))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            there = f"http://10.0.2.2:{server.server_port}"
            assert guest.does(f"curl -fsSL --retry 5 {there}/some.tar.gz | tar -xzO some/file") == "text"
            code, told = guest.tries(f"curl -fsSL {there}/none")
            server.shutdown()
        assert code == 22 and "404" in told
        # Two of them are not busybox's, not even for its own find.
        assert guest.does("setpriv --reuid kontain --regid kontain --init-groups id -un") == "kontain"
        assert guest.does("echo Extra > /tmp/x; find /tmp/x -exec sed /extra/Id {} ';'") == ""
        assert guest.does("su kontain -c 'id -un'") == "kontain"
        guest.does("logger hello; blockdev --flushbufs $(findfs LABEL=cidata)")


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing of it."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


class TestServices:
    def test_get_words_environment_user_and_folder_as_told_and_nothing_of_who_starts_them(self, guest: Guest) -> None:
        words = "7 words: the unit the unit > * 100% $HOME"
        line = f"{words}; the unit and the file; kontain in /opt, at home in /home/kontain, ."
        log = "cat /var/log/worker.service.log"
        assert guest.comes_to(f"{log} | grep -c words && {log}").splitlines() == ["1", "before; > it", line]
        again = f"LEAKED=yes HOME=/tmp systemctl restart worker; systemctl is-active worker; {log} | tail -n 4"
        assert guest.does(again).splitlines()[:1] == ["active"]
        assert guest.comes_to(f"[ $({log} | grep -c words) = 2 ] && {log} | tail -n 4").splitlines() == [
            "interrupted",
            "after",
            "before; > it",
            line,
        ]
        # The console has it as journald gives it.
        assert guest.console().count(f"]: {line}\n") == 2

    def test_are_seen(self, guest: Guest) -> None:
        told = guest.does("systemctl status worker.service")
        for text in ("worker.service - Works until it is stopped", "; enabled)", "Active: active", "7 words"):
            assert text in told
        assert guest.tries("systemctl is-active worker fails nowhere") == (0, "active\ninactive\ninactive")
        assert guest.tries("systemctl is-active -q fails") == (3, "")
        assert guest.does("systemctl is-enabled worker wipe tick.timer tick").split() == [*["enabled"] * 3, "static"]
        verbs = "is-enabled status start stop enable"
        codes = guest.does(f"for verb in {verbs}; do systemctl -q $verb nowhere > /tmp/x; echo $?; done 2> /tmp/x")
        assert codes.split() == ["1", "4", "5", "5", "1"]
        assert guest.tries("su kontain -c 'systemctl stop worker'")[0] == 4

    def test_end_by_their_signal_and_nothing_of_them_is_left(self, guest: Guest) -> None:
        told = guest.tries("systemctl stop worker; tail -n 2 /var/log/worker.service.log; systemctl is-active worker")
        assert told == (3, "interrupted\nafter\ninactive")
        told = guest.tries("systemctl start leaves; cat /var/log/leaves.service.log; ps | grep '[s]leep [12]000 *$'")
        assert told == (1, "gone")

    def test_start_only_under_their_conditions(self, guest: Guest) -> None:
        told = guest.does("touch /etc/idle; systemctl start worker; echo $?; systemctl is-active worker; rm /etc/idle")
        assert told.split() == ["0", "inactive"]
        assert guest.does("systemctl start worker; systemctl is-active worker") == "active"

    def test_come_back_or_not(self, guest: Guest) -> None:
        pid = guest.comes_to("pidof worker")
        assert (
            guest.does(f"kill -9 {pid}; until again=$(pidof worker) && [ $again != {pid} ]; do sleep 0.1; done") == ""
        )
        guest.does("systemctl start dies ends")
        assert guest.comes_to("systemctl is-active dies ends | tr '\\n' ' ' | grep 'activating inactive'")
        assert guest.tries("systemctl stop dies; systemctl is-active dies")[0] == 3

    def test_that_fail_say_so(self, guest: Guest) -> None:
        code, told = guest.tries("systemctl start fails")
        assert code == 1 and "Job for fails.service failed" in told
        assert guest.does("systemctl is-active fails || cat /var/log/fails.service.log") == "failed\nno luck"

    def test_keep_what_was_loaded_until_a_reload(self, guest: Guest) -> None:
        say = f"printf '[Service]\\nType=oneshot\\nExecStart=/bin/echo %s\\n' $word > {UNITS}/says.service"
        told = guest.does(
            f"word=one; {say}; systemctl start says; word=two; {say}; systemctl start says\n"
            "systemctl daemon-reload; systemctl start says; cat /var/log/says.service.log"
        )
        assert told.split() == ["one", "one", "two"]


class TestTimers:
    def test_come_after_a_time_at_a_time_and_never_in_the_past(self, guest: Guest) -> None:
        assert guest.comes_to("cat /var/log/ticks") == "tick"  # by the one that was enabled
        others = "past.timer later.timer"
        told = guest.does(f"systemctl start {others}; systemctl is-active {others}; sleep 1; cat /var/log/ticks")
        assert told.split() == ["active", "active", "tick"]
        # Its time is over, and so it has come.
        guest.does("systemctl start booted.timer")
        assert guest.comes_to("[ $(grep -c . /var/log/ticks) = 2 ]") == ""
        # Another end, as one is told to a VM that lives shorter, or longer.
        told = guest.does(
            f"""
            soon=$(($(date +%s) + 3))
            sed -i "s/{FAR}/$(date -d @$soon '+%Y-%m-%d %H:%M:%S UTC')/" {UNITS}/later.timer
            systemctl daemon-reload
            systemctl restart later.timer
            until [ $(grep -c . /var/log/ticks) = 3 ]; do sleep 0.2; done
            echo $(($(date +%s) - soon))
            """
        )
        assert 0 <= int(told) < 20

    def test_of_another_form_are_refused(self, guest: Guest) -> None:
        code, _ = guest.tries(
            f"printf '[Timer]\\nOnCalendar=daily\\n' > {UNITS}/daily.timer; systemctl start daily.timer"
        )
        assert code == 1
        assert "no absolute time in UTC: daily" in guest.does("cat /var/log/daily.timer.log")

    def test_are_made_in_passing(self, guest: Guest) -> None:
        word = """it's "a" $HOME\\n 100%"""
        command = shlex.join(["sh", "-c", 'printf %s "$1" > /tmp/passed', "sh", word])
        told = guest.does(f"systemd-run --on-active=2 {command}; [ -e /tmp/passed ] || echo not yet")
        assert told.startswith("Running timer as unit: run-r") and told.endswith("\nnot yet")
        assert guest.comes_to("grep . /tmp/passed") == word

    def test_end_the_machine_unless_they_are_taken_back(self, guest: Guest) -> None:
        told = guest.does(
            """
            waits() {
                systemctl is-active shutdown.timer
                until ps | grep "[s]leep $1$"; do sleep 0.1; done > /dev/null
            }
            shutdown -P +2 && waits 120
            shutdown -r +1 && waits 60
            ps | grep -c '[s]leep 120$'
            shutdown -c && systemctl is-active shutdown.timer
            ps | grep -c '[s]leep 60$' || true
            """
        )
        assert told.splitlines() == [
            "Shutdown scheduled, in 2 minutes: poweroff. Use 'shutdown -c' to cancel.",
            "active",
            "Shutdown scheduled, in 1 minutes: reboot. Use 'shutdown -c' to cancel.",
            "active",
            "0",
            "inactive",
            "0",
        ]


@pytest.fixture(scope="module")
def again(guest: Guest) -> Iterator[Guest]:
    """The guest's second boot, after somebody pressed its power button while a service did not want to end."""
    guest.does("systemctl start stubborn; systemctl is-active stubborn; : > /var/log/ticks")
    qemu.command(guest.folder, "system_powerdown")
    eventually(lambda: not qemu.alive(guest.folder), "the end after the power button", 60)
    assert guest.console().count("wiped\n") == 1
    with booted(guest.folder, guest.keys) as again:
        yield again


class TestASecondBoot:
    def test_finds_that_the_services_ended_before_the_power_did(self, again: Guest) -> None:
        assert again.does("cat /var/log/wiped") == "root, the worker: after"

    def test_starts_what_is_enabled(self, again: Guest) -> None:
        active = "systemctl is-active worker stubborn tick.timer later.timer | tr '\\n' ' '"
        assert again.comes_to(f"{active} | grep 'active active active inactive'")
        assert again.comes_to("grep . /var/log/ticks") == "tick"

    def test_does_nothing_of_the_first_again(self, again: Guest) -> None:
        assert again.does("wc -l < /var/log/commands; wc -l < /home/kontain/.ssh/authorized_keys").split() == ["1", "2"]
        assert again.does("hostname") == "micro-1"
        # This once more, as cloud-init does.
        assert again.does("stat -c %a /var/lib/cloud/instance/user-data.txt") == "600"

    def test_has_the_time_again(self, again: Guest) -> None:
        assert abs(int(again.does("date +%s")) - time.time()) < 5

    def test_ends_in_a_reboot_that_does_not_run_what_a_power_off_wants(self, again: Guest) -> None:
        qemu.command(again.folder, "set-action", reboot="shutdown")
        again.tries("kill -9 $(cat /sys/fs/cgroup/stubborn.service/cgroup.procs); systemctl reboot")
        eventually(lambda: not qemu.alive(again.folder), "the reboot", 20)
        assert "reboot: Restarting system" in again.console() and "wiped" not in again.console()
