"""What a running process takes up, and what it names instead."""

from __future__ import annotations

import attrs
import pytest

from twisted_relay.core.admission import Admission
from twisted_relay.core.limits import AddressBuckets, Bucket
from twisted_relay.core.reloading import reloaded
from twisted_relay.core.settings import Settings, SettingsError, load_settings
from twisted_relay.core.settings_table import SETTINGS

SECRET = "a-secret-made-up-for-these-tests-0001"


def loaded(**env: str) -> Settings:
    return load_settings(env).settings


def test_what_can_change_does_and_the_rest_is_named() -> None:
    old = loaded(MAX_CONNS_PER_IP="7")
    new = loaded(
        MAX_CONNS_PER_IP="8", ALLOWED_ORIGINS="https://a.example", PORT="1", INSTANCE_ID="x"
    )
    found = reloaded(old, new)
    assert found.changed == ("MAX_CONNS_PER_IP", "ALLOWED_ORIGINS")
    assert found.waiting == ("PORT", "INSTANCE_ID")
    assert found.settings.admission == new.admission
    assert found.settings.listen == old.listen
    assert found.settings.runtime == old.runtime


def test_the_same_again_is_nothing_new() -> None:
    old = loaded(JOIN_TOKEN_SECRET=SECRET)
    found = reloaded(old, loaded(JOIN_TOKEN_SECRET=SECRET))
    assert (found.settings, found.changed, found.waiting) == (old, (), ())


def test_what_would_not_go_with_what_stays_is_refused() -> None:
    # Without REDIS_URL no secret is needed; but the process keeps its Redis until a restart.
    old = loaded(REDIS_URL="redis://127.0.0.1:1/0", JOIN_TOKEN_SECRET=SECRET)
    with pytest.raises(SettingsError, match="JOIN_TOKEN_SECRET: it is missing"):
        reloaded(old, loaded())


def test_only_settings_in_force_can_be_reloaded() -> None:
    assert [row.name for row in SETTINGS if row.reload and row.effect != "now"] == []


def test_a_bucket_keeps_what_is_in_it_if_that_fits() -> None:
    bucket = Bucket(10, 1, now=0)
    assert bucket.spend(6, now=0)
    bucket.change(8, 2)
    assert not bucket.spend(5, now=0)
    assert bucket.spend(4, now=0)
    assert bucket.spend(8, now=4)
    bucket = Bucket(10, 1, now=0)
    bucket.change(3, 1)
    assert not bucket.spend(4, now=0)


def test_an_address_that_spent_all_gains_nothing_by_a_change() -> None:
    buckets = AddressBuckets(2)
    assert [buckets.spend("a", 0.0) for _ in range(2)] == [None, None]
    buckets.change(60)
    assert buckets.spend("a", 0.0) == pytest.approx(1.0)
    assert buckets.spend("b", 0.0) is None


def test_admission_goes_by_other_limits_and_keeps_its_counts() -> None:
    limits = loaded().admission
    admission = Admission(limits)
    assert admission.admit("a", None, False, 0.0) is None
    admission.change(attrs.evolve(limits, max_conns_per_ip=1))
    refusal = admission.admit("a", None, False, 0.0)
    assert refusal is not None
    assert refusal.why.reason == "ip_limit"
    admission.release("a")
    assert admission.admit("a", None, False, 0.0) is None
