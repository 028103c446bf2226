"""Keep or destroy: decided by what failed on a VM, and by nothing else, as far as it can be told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud import keep, names
from cloud.keep import Job, Verdict

RUN = names.Run("kontainapp/km", "KM-CI-Pipeline", "1279", "9876543210", "1")
EC2, AZURE = names.label("aws", RUN), names.label("azure", RUN)

GREEN = Job("test-km", "https://github.com/kontainapp/km/actions/runs/9876543210/job/1", [EC2], "completed", "success")
RED = replace(GREEN, conclusion="failure", failed_step="Run tests")
DYING = replace(GREEN, status="in_progress", conclusion=None)

any_text = st.text(st.characters(codec=None), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text | st.just("result"), inner, max_size=3),
    max_leaves=8,
)
results = st.sampled_from(["success", "failure", "cancelled", "skipped"])
needs_told = st.dictionaries(any_text, results, max_size=4)
conclusions = st.sampled_from(
    [None, "success", "failure", "cancelled", "skipped", "timed_out", "neutral", "stale", "new"]
)


def jobs_of(*labels: str) -> st.SearchStrategy[list[Job]]:
    """Jobs that ask for some of these labels, in either case, or for a stranger's."""
    one = st.sampled_from([*labels, *(label.upper() for label in labels)])
    return st.lists(
        st.builds(
            Job,
            name=any_text,
            url=any_text,
            labels=st.lists(one | st.sampled_from(["self-hosted", "ubuntu-24.04"]), max_size=3),
            status=st.sampled_from(["queued", "in_progress", "completed", "waiting"]),
            conclusion=conclusions,
            failed_step=any_text,
            timed_out=st.booleans(),
        ),
        max_size=4,
    )


def document(needs: dict[str, str]) -> str:
    """The needs, as Actions writes them."""
    return json.dumps(
        {job: {"result": result, "outputs": {"run-ons": "{}"}} for job, result in needs.items()}, indent=2
    )


class TestWhatNeedsTell:
    @given(needs_told)
    def test_is_how_each_job_ended(self, needs: dict[str, str]) -> None:
        assert keep.parse_needs(document(needs)) == needs

    @given(st.text())
    def test_is_nothing_where_it_is_any_text(self, text: str) -> None:
        assert keep.parse_needs(text) in (None, {})

    @given(json_values)
    @example({"build": {"result": "failure"}, "test": {"result": "unheard-of"}})
    @example({"build": {"result": ["failure"]}})
    @example({"build": {"result": {}}})
    @example({"build": {"outcome": "failure"}})
    @example({"build": "failure"})
    @example([{"result": "failure"}])
    def test_is_all_of_it_or_nothing_whatever_its_shape(self, told: object) -> None:
        needs = keep.parse_needs(json.dumps(told))
        if needs is not None:
            assert isinstance(told, dict)
            assert needs == {job: each["result"] for job, each in told.items()}
            assert set(needs.values()) <= {"success", "failure", "cancelled", "skipped"}

    @given(needs_told, st.integers(0, 400), st.text(max_size=2), st.integers(0, 3))
    def test_never_raises_where_something_was_changed_in_it(
        self, needs: dict[str, str], at: int, put: str, cut: int
    ) -> None:
        text = document(needs)
        read = keep.parse_needs(text[:at] + put + text[at + cut :])
        assert read is None or set(read.values()) <= {"success", "failure", "cancelled", "skipped"}

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "null",
            "failure",
            '{"build": {"result": "failure"}',
            "[" * 100_000,
            '{"a":' * 100_000,
            '{"build": {"result": "success", "outputs": ' + "[" * 100_000 + "]" * 100_000 + "}}",
            '{"build": ' + "9" * 10_000 + "}",
            "${{ toJSON(needs) }}",
        ],
        ids=lambda text: text[:20],
    )
    def test_is_nothing_where_it_can_not_be_read(self, text: str) -> None:
        assert keep.parse_needs(text) is None

    def test_is_empty_where_the_job_needs_none(self) -> None:
        assert keep.parse_needs("{}") == {}


class TestAVmOfWhichGithubTellsTheJobs:
    @pytest.mark.parametrize(
        ("job", "why"),
        [
            (RED, "job test-km failed at step Run tests"),
            (replace(RED, failed_step=""), "job test-km failed"),
            (replace(RED, conclusion="timed_out"), "job test-km hit its time limit"),
            (replace(RED, labels=["self-hosted", EC2.upper()]), "job test-km failed at step Run tests"),
        ],
    )
    def test_is_kept_when_a_job_on_it_failed(self, job: Job, why: str) -> None:
        decided = keep.decide(EC2, {"test-km": "failure"}, [replace(GREEN, name="other"), job])
        assert decided == Verdict(True, why, RED.url)

    def test_defect_9_is_kept_when_a_job_on_it_was_cancelled_at_its_time_limit(self) -> None:
        late = replace(GREEN, conclusion="cancelled", timed_out=True)
        assert keep.decide(EC2, {"test-km": "cancelled"}, [late]) == Verdict(
            True, "job test-km hit its time limit", GREEN.url
        )

    @pytest.mark.parametrize("conclusion", ["cancelled", "failure", None])
    def test_is_kept_whatever_became_of_the_job_at_its_time_limit(self, conclusion: str | None) -> None:
        late = replace(RED, conclusion=conclusion, timed_out=True)
        assert keep.decide(EC2, None, [late]) == Verdict(True, "job test-km hit its time limit", late.url)

    @pytest.mark.parametrize("conclusion", ["success", "skipped"])
    def test_is_destroyed_when_the_job_did_well_in_spite_of_a_time_limit(self, conclusion: str) -> None:
        assert not keep.decide(EC2, None, [replace(GREEN, conclusion=conclusion, timed_out=True)]).keep

    @pytest.mark.parametrize("conclusion", ["success", "cancelled", "skipped", "neutral", None])
    def test_is_destroyed_when_the_job_on_it_did_not_fail(self, conclusion: str | None) -> None:
        decided = keep.decide(EC2, {"test-km": "cancelled"}, [replace(GREEN, conclusion=conclusion)])
        assert decided == Verdict(False, "no job failed on it")

    def test_defect_9_is_destroyed_when_a_job_failed_that_ran_elsewhere(self) -> None:
        elsewhere = [replace(RED, name="km-build", labels=["ubuntu-24.04"]), replace(RED, labels=[AZURE])]
        needs = {"km-build": "failure", "start": "failure", "test-km": "failure"}
        assert keep.decide(EC2, needs, [*elsewhere, GREEN]) == Verdict(False, "no job failed on it")
        assert keep.decide(EC2, needs, elsewhere) == Verdict(False, "no job ran on it")

    @pytest.mark.parametrize("needs", [None, {}, {"start": "failure"}])
    def test_defect_9_is_destroyed_when_no_job_came_to_it(self, needs: dict[str, str] | None) -> None:
        assert keep.decide(EC2, needs, []) == Verdict(False, "no job ran on it")

    @given(st.none() | needs_told, jobs_of(EC2), jobs_of(AZURE))
    def test_defect_9_is_judged_by_its_own_jobs_alone(
        self, needs: dict[str, str] | None, ours: list[Job], others: list[Job]
    ) -> None:
        ours = [replace(job, conclusion=job.conclusion or "cancelled") for job in ours]
        assert keep.decide(EC2, needs, ours) == keep.decide(EC2, needs, [*others, *ours])

    @given(st.none() | needs_told, jobs_of(EC2, AZURE))
    def test_is_kept_only_for_a_failure_or_with_a_warning(self, needs: dict[str, str] | None, jobs: list[Job]) -> None:
        decided = keep.decide(EC2, needs, jobs)
        ours = [job for job in jobs if EC2.lower() in (label.lower() for label in job.labels)]
        assert decided.keep == (any(job.failure for job in ours) or bool(decided.warning))
        if decided.warning:
            assert "failure" in (needs or {}).values() and any(job.conclusion is None for job in ours)

    def test_is_judged_by_its_jobs_when_needs_can_not_be_read(self) -> None:
        assert keep.decide(EC2, None, [RED]).keep
        assert not keep.decide(EC2, None, [GREEN]).keep

    def test_is_destroyed_when_the_run_is_cancelled_while_a_job_still_ends_on_it(self) -> None:
        assert keep.decide(EC2, {"test-km": "cancelled"}, [DYING]) == Verdict(False, "no job failed on it")
        elsewhere = replace(RED, labels=[AZURE])
        assert not keep.decide(EC2, {"test-km": "failure"}, [DYING, elsewhere]).keep

    def test_is_kept_with_a_warning_when_the_failure_can_only_be_its_own_and_is_not_told_yet(self) -> None:
        decided = keep.decide(EC2, {"build": "success", "test-km": "failure"}, [DYING, replace(GREEN, labels=[AZURE])])
        assert decided.keep and decided.why == "needs: test-km failed" and decided.job == DYING.url
        assert "how job test-km ended" in decided.warning


class TestAVmOfWhichGithubTellsNoJobs:
    @given(needs_told)
    def test_is_kept_for_any_failure_and_for_nothing_else(self, needs: dict[str, str]) -> None:
        decided = keep.decide(EC2, needs, None)
        assert decided.keep == ("failure" in needs.values())
        assert decided == keep.decide(AZURE, needs, None) and not decided.warning

    def test_says_what_failed(self) -> None:
        needs = {"build": "failure", "lint": "success", "test-km": "failure", "publish": "skipped"}
        assert keep.decide(EC2, needs, None) == Verdict(True, "needs: build, test-km failed")
        assert keep.decide(EC2, {"build": "cancelled"}, None) == Verdict(False, "no job failed")

    def test_is_kept_with_a_warning_when_needs_can_not_be_read_either(self) -> None:
        decided = keep.decide(EC2, None, None)
        assert decided.keep and decided.why == "needs could not be read" and "nobody knows" in decided.warning


BEFORE = Verdict(True, "job test-km failed at step Boot", "https://github.com/kontainapp/km/actions/runs/1/job/2")
STAYS = replace(BEFORE, stays=True)


class TestAVmThatAnEarlierAttemptHasKept:
    def test_is_destroyed_when_its_jobs_went_well_this_time(self) -> None:
        skipped = replace(GREEN, conclusion="skipped")
        assert not keep.decide(EC2, None, [GREEN, skipped], BEFORE).keep
        assert not keep.decide(EC2, {"start": "success", "test-km": "success"}, None, BEFORE).keep

    @pytest.mark.parametrize("conclusion", ["cancelled", "skipped", "stale", None])
    def test_stays_as_it_is_when_the_attempt_was_cancelled(self, conclusion: str | None) -> None:
        cancelled = replace(GREEN, conclusion=conclusion)
        assert keep.decide(EC2, {"test-km": "cancelled"}, [cancelled], BEFORE) == STAYS
        assert keep.decide(EC2, {"test-km": "cancelled"}, [], BEFORE) == STAYS

    def test_stays_as_it_is_when_one_of_two_jobs_was_cancelled(self) -> None:
        jobs = [GREEN, replace(GREEN, name="other", conclusion="cancelled")]
        assert keep.decide(EC2, {}, jobs, BEFORE) == STAYS

    def test_stays_as_it_is_when_only_another_clouds_jobs_went_well(self) -> None:
        assert keep.decide(EC2, {"test-azure": "success"}, [replace(GREEN, labels=[AZURE])], BEFORE) == STAYS
        assert keep.decide(EC2, {"test-azure": "success", "test-ec2": "skipped"}, None, BEFORE) == STAYS

    def test_is_kept_for_what_failed_last(self) -> None:
        assert keep.decide(EC2, {}, [RED], BEFORE) == keep.decide(EC2, {}, [RED])

    def test_stays_as_it_is_with_a_warning_when_nothing_can_be_read(self) -> None:
        decided = keep.decide(EC2, None, None, BEFORE)
        assert replace(decided, warning="") == STAYS and "nobody knows" in decided.warning

    @given(st.none() | needs_told, st.none() | jobs_of(EC2, AZURE))
    def test_is_never_destroyed_where_another_one_would_be_kept(
        self, needs: dict[str, str] | None, jobs: list[Job] | None
    ) -> None:
        assert keep.decide(EC2, needs, jobs, BEFORE).keep >= keep.decide(EC2, needs, jobs).keep


@pytest.mark.parametrize(("kept", "why"), [(True, "asked for by --keep"), (False, "asked for by --destroy")])
def test_what_was_asked_for_is_done(kept: bool, why: str) -> None:
    assert keep.asked(kept) == Verdict(kept, why)


@given(st.none() | needs_told, st.none() | jobs_of(EC2, AZURE))
def test_every_verdict_says_why_in_one_line_that_can_be_printed(
    needs: dict[str, str] | None, jobs: list[Job] | None
) -> None:
    decided = keep.decide(EC2, needs, jobs)
    assert decided.why
    for text in (decided.why, decided.job, decided.warning):
        assert text.isprintable() and text.encode() is not None
    assert names.tag_value(decided.why)
