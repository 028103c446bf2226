"""Names: what may be called what, in every cloud."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud import NAMES, names
from cloud.errors import InputError

# From the vendors' pages: EC2 CreateImage; Azure "naming rules and restrictions", galleries.
AWS = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}", re.ASCII)
AZURE_GROUP = re.compile(r"[A-Za-z0-9._()-]{0,89}[A-Za-z0-9_()-]", re.ASCII)
AZURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,78}[A-Za-z0-9_]", re.ASCII)
# The same page: a VM under Linux, a public address's DNS label. Debian, hostname(7): a host's name.
AZURE_VM = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?", re.ASCII)
AZURE_DNS = re.compile(r"[a-z][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
# AWS, "Tag your resources", what all services allow; a value that begins with `aws:` is AWS's own.
TAG = re.compile(r"(?!aws:)[\w .:/=+@-]{0,256}", re.IGNORECASE)
# GitHub: a runner's name has 64 letters, a label 256 and no comma.
GITHUB_NAME = re.compile(r"[^,\s]{1,64}")

LETTERS = "abzABZ019._-"
moments = st.datetimes(
    min_value=datetime(2000, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)

RUN = names.Run("kontainapp/km", "KM CI Pipeline", "1279", "9876543210", "1")
any_text = st.text(st.characters(codec=None), max_size=80)  # variables hold what is no text as lone surrogates
workflows = st.one_of(
    any_text,
    st.text("ab-/ ", max_size=8),
    st.text("aA-", min_size=30, max_size=60),
    st.sampled_from(
        ["CI/CD (x86)", "CI-CD-x86", "CI CD x86", "", "-", "--", "a\nb", "$(reboot)", "`reboot`", 'it\'s "it"', "构建"]
    ),
    st.from_regex(r"[ab]?-?x[0-9a-f]{6}", fullmatch=True),
)
numbers = (
    st.integers(1, 10**7).map(str) | st.sampled_from(["", "1-2", "1", "2", "x1f2e3d", "9" * 16, "9" * 17]) | any_text
)
runs = st.builds(names.Run, any_text, workflows, numbers, any_text, any_text)
clouds = st.sampled_from(NAMES)


class TestAnImagesName:
    @given(st.text(LETTERS, max_size=60) | st.text(max_size=60))
    @example("L0BaseImage")
    @example("L0BaseImage\n")
    @example("Ⅷ-image")
    @example("a" * 50)
    @example("a" * 51)
    def test_is_good_for_every_cloud_or_refused(self, text: str) -> None:
        try:
            accepted = names.image_name(text)
        except InputError:
            return
        assert accepted == text
        build = names.build_name(text, datetime(2026, 11, 22, tzinfo=UTC), "1f2e3d")
        for name in (text, build):
            assert AWS.fullmatch(name) and AZURE.fullmatch(name)
        assert AZURE_GROUP.fullmatch(f"{build}-proof-1f2e3d")

    @pytest.mark.parametrize("text", ["L0BaseImage", "a-b", "km_box.2", "A" * 50])
    def test_may_be_what_people_use(self, text: str) -> None:
        assert names.image_name(text) == text

    @pytest.mark.parametrize("text", ["", "ab", "9lives", "-x-", "a b c", "abc.", "../etc", "a/b", "A" * 51, "Bild-ä"])
    def test_is_refused_with_the_rule_as_a_hint(self, text: str) -> None:
        with pytest.raises(InputError, match="can't name an image") as refused:
            names.image_name(text)
        assert "3 to 50 letters" in refused.value.hint


class TestABuildsName:
    @given(moments)
    def test_says_in_utc_when_it_began(self, created: datetime) -> None:
        told = names.time_of(names.build_name("An-Image", created, "1f2e3d"))
        assert timedelta() <= created - told < timedelta(seconds=1)

    def test_differs_by_its_token_within_a_second(self) -> None:
        now = datetime(2026, 11, 22, 20, tzinfo=UTC)
        assert names.build_name("Image", now, "aaaaaa") != names.build_name("Image", now, "bbbbbb")
        assert names.build_name("L0BaseImage", now, "1f2e3d") == "L0BaseImage-20261122T200000Z-1f2e3d"


class TestAMoment:
    @given(moments)
    def test_comes_back_as_it_was_written(self, time: datetime) -> None:
        assert names.parse_moment(names.moment(time)) == time

    @given(moments, moments)
    def test_sorts_as_text_as_it_does_in_time(self, one: datetime, other: datetime) -> None:
        assert (names.moment(one) < names.moment(other)) == (one < other)

    @given(st.text(max_size=40))
    @example("2026-11-22T20:00:00Z")
    def test_is_nothing_but_what_was_written_by_us(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"does not match format|unconverted data"):
            names.parse_moment(text)


class TestTheNameOfARunsMachine:
    @pytest.mark.parametrize(
        ("cloud", "name"),
        [
            ("aws", "ec2-runner-KM-CI-Pipeline-1279"),
            ("azure", "azure-runner-KM-CI-Pipeline-1279"),
            ("local", "local-runner-KM-CI-Pipeline-1279"),
        ],
    )
    def test_is_what_people_know(self, cloud: str, name: str) -> None:
        assert names.machine_name(cloud, RUN) == name

    def test_shows_what_had_to_be_replaced_and_tells_it_apart(self) -> None:
        name = names.machine_name("aws", replace(RUN, workflow="CI/CD (x86)"))
        assert re.fullmatch("ec2-runner-CI-CD-x86-x[0-9a-f]{6}-1279", name)

    @given(clouds, runs)
    @example("aws", replace(RUN, workflow="CI/CD (x86)"))
    @example("azure", replace(RUN, workflow="a" * 300, number="1" * 300))
    @example("azure", replace(RUN, workflow="a " * 30))
    @example("azure", replace(RUN, workflow="ab " * 30))
    @example("local", replace(RUN, workflow="", number=""))
    def test_defect_27_is_good_for_every_cloud_whatever_the_workflow_is_called(
        self, cloud: str, run: names.Run
    ) -> None:
        name = names.machine_name(cloud, run)
        assert len(name) <= 56 and "--" not in name
        for known in (name, f"{name}-1f2e3d"):
            assert all(rule.fullmatch(known) for rule in (AZURE_VM, AZURE_GROUP, HOST, TAG, GITHUB_NAME))
            assert AZURE_DNS.fullmatch(known.lower())

    @given(clouds, runs, runs)
    @example("aws", replace(RUN, workflow="CI/CD"), replace(RUN, workflow="CI CD"))
    @example("aws", replace(RUN, workflow="CI/CD"), replace(RUN, workflow="CI-CD"))
    @example("aws", replace(RUN, workflow="a" * 60), replace(RUN, workflow="a" * 61))
    @example("aws", replace(RUN, workflow="a-1", number="2"), replace(RUN, workflow="a", number="1-2"))
    @example("aws", replace(RUN, number="12"), replace(RUN, number="1"))
    @example("aws", replace(RUN, workflow=""), replace(RUN, workflow="-"))
    @example("aws", replace(RUN, workflow="\udc80"), replace(RUN, workflow="\udc81"))
    @example("aws", replace(RUN, workflow="CI x1f2e3d"), replace(RUN, workflow="CI-x1f2e3d"))
    def test_differs_where_workflow_or_number_do(self, cloud: str, one: names.Run, other: names.Run) -> None:
        same = (one.workflow, one.number) == (other.workflow, other.number)
        assert (names.machine_name(cloud, one) == names.machine_name(cloud, other)) == same

    @given(workflows, numbers)
    def test_differs_from_what_looks_like_its_own_replacement(self, workflow: str, number: str) -> None:
        run = replace(RUN, workflow=workflow, number=number)
        shown = names.machine_name("aws", run).removeprefix("ec2-runner-").rpartition("-")
        for lookalike in (shown[0], shown[0].replace("-", " ")):
            again = replace(run, workflow=lookalike, number=shown[2])
            same = (again.workflow, again.number) == (workflow, number)
            assert (names.machine_name("aws", again) == names.machine_name("aws", run)) == same

    @given(runs)
    def test_is_the_same_in_all_clouds_but_for_the_clouds_word(self, run: names.Run) -> None:
        assert len({names.machine_name(cloud, run).partition("-runner-")[2] for cloud in NAMES}) == 1


class TestALabel:
    @given(clouds, runs)
    def test_is_of_63_plain_letters_at_most_and_says_its_cloud(self, cloud: str, run: names.Run) -> None:
        label = names.label(cloud, run)
        assert HOST.fullmatch(label) and label.startswith(names.machine_name(cloud, run))
        assert names.extra_labels([label]) == [label] and names.tag_value(label) == label
        assert {names.is_label(each) for each in (label, label.lower(), label.upper())} == {cloud}

    @given(runs, any_text)
    def test_defect_7_is_the_same_in_every_attempt(self, run: names.Run, attempt: str) -> None:
        again = replace(run, attempt=attempt)
        assert names.label("aws", again) == names.label("aws", run)
        assert names.machine_name("aws", again) == names.machine_name("aws", run)

    def test_defect_6_is_no_other_repositorys(self) -> None:
        other = replace(RUN, repository="kontainapp/docs")
        assert names.machine_name("aws", other) == names.machine_name("aws", RUN)
        assert names.label("aws", other) != names.label("aws", RUN)

    def test_defect_6_is_not_shared_by_two_workflows_of_one_name(self) -> None:
        assert names.label("aws", replace(RUN, id="9876543211")) != names.label("aws", RUN)

    @given(st.tuples(any_text, any_text), st.tuples(any_text, any_text))
    @example(("a/b1", "2"), ("a/b", "12"))
    def test_defect_6_differs_where_repository_or_run_do(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        first, second = (
            names.label("azure", replace(RUN, repository=repository, id=run)) for repository, run in (one, other)
        )
        assert (first == second) == ((one[0].lower(), one[1]) == (other[0].lower(), other[1]))

    def test_is_the_same_however_the_repository_is_written(self) -> None:
        assert names.label("aws", replace(RUN, repository="KontainApp/KM")) == names.label("aws", RUN)

    def test_differs_in_every_cloud(self) -> None:
        assert len({names.label(cloud, RUN) for cloud in NAMES}) == len(NAMES)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "none",
            "self-hosted",
            "ubuntu-24.04",
            "ec2-runner-",
            "gcp-runner-CI-1-1f2e3d",
            "aws-runner-CI-1-1f2e3d",
            "ec2-runner-CI-1",
        ],
    )
    def test_defect_34_of_no_cloud_is_none_of_ours(self, text: str) -> None:
        assert names.is_label(text) == ""

    @given(any_text)
    @example(names.label("aws", RUN) + "\n")
    @example(names.label("aws", RUN).replace("K", "\u212a"))  # the sign of Kelvin, a `k` to some
    @example("ec2-runner-" + "a" * 90 + "-1-1f2e3d")
    def test_of_a_stranger_is_none_of_ours(self, text: str) -> None:
        assert names.is_label(text) == ""


class TestLabelsThatSomebodyWantsBesides:
    @given(st.lists(any_text, max_size=4))
    @example(["gpu", "GPU", "big vm"])
    @example(["Stra\u00dfe", "STRASSE"])
    def test_are_each_once_and_good_for_github_or_refused(self, texts: list[str]) -> None:
        try:
            labels = names.extra_labels(texts)
        except InputError:
            return
        assert len({label.lower() for label in labels}) == len(labels)
        assert {label.casefold() for label in labels} == {text.casefold() for text in texts}
        assert all(0 < len(label) <= 256 and label.isprintable() and "," not in label for label in labels)
        assert names.extra_labels(labels) == labels

    def test_stay_as_they_were_first_written_and_in_their_order(self) -> None:
        assert names.extra_labels(["nested-KVM", "big vm", "NESTED-kvm", "a" * 256]) == [
            "nested-KVM",
            "big vm",
            "a" * 256,
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            " gpu",
            "gpu ",
            "a,b",
            "a\nb",
            "a\0b",
            "a\x1bb",
            "a'b",
            'a"b',
            "a`b",
            "a" * 257,
            "a\u2028b",
            "\udc80",
        ],
    )
    def test_are_refused_with_the_rule_as_a_hint(self, text: str) -> None:
        with pytest.raises(InputError, match="can't be a label") as refused:
            names.extra_labels(["gpu", text])
        assert "without commas" in refused.value.hint


class TestATagsValue:
    @given(any_text | st.text(st.characters(codec=None), min_size=250, max_size=600))
    @example("a" * 255 + " b")
    @example("AWS:cloudformation")
    @example("\U0001d54f" * 256)
    def test_is_good_for_every_cloud_whatever_the_text(self, text: str) -> None:
        value = names.tag_value(text)
        assert TAG.fullmatch(value) and value == value.strip()
        assert all(unicodedata.category(letter)[0] in "LN" for letter in value if letter not in " _.:/=+-@")
        assert len(value.encode("utf-16-le")) <= 2 * 256
        assert names.tag_value(value) == value

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "kontainapp/km",
            "https://github.com/kontainapp/km/actions/runs/9876543210/job/12",
            "2026-11-22T20:00:00.000000Z",
            "job test-km failed at step Run tests",
            "L0BaseImage-20261122T200000Z-1f2e3d",
            "Pr\u00fcfung",
        ],
    )
    def test_is_the_text_where_that_may_stand_there(self, text: str) -> None:
        assert names.tag_value(text) == text

    def test_shows_where_something_stood_that_may_not(self) -> None:
        assert names.tag_value('job "a" (x86)\n failed') == "job _a_ _x86_ failed"


def test_no_two_tags_have_the_same_key_and_all_are_ours() -> None:
    keys = [key for name, key in vars(names).items() if name.isupper() and name[0] != "_" and isinstance(key, str)]
    assert len(keys) == len(set(keys)) > 0
    assert all(key.startswith("km-") for key in keys)
