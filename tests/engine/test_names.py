"""Names of frames and stays: none comes twice."""

import os

from stand_ins import counted_bytes

from twisted_relay.core.view import View
from twisted_relay.engine.names import Names


def test_no_name_comes_twice_in_one_process_or_in_two():
    one, other = Names(os.urandom), Names(os.urandom)
    made = [name() for name in (one.frame, one.lease, other.frame, other.lease) for _ in range(99)]
    assert len(set(made)) == len(made)


def test_an_instance_knows_its_own_stays_and_nobody_elses():
    names = Names(counted_bytes())
    view = View(names.lease())
    assert view.is_own(names.lease())
    assert not view.is_own(Names(os.urandom).lease())
