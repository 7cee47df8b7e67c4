"""The rooms of this process: seats change hands, and an empty room is forgotten."""

from twisted_relay.core.rooms import Rooms


def enter(rooms, room="r", member="m", client="c", hold="first"):
    return rooms.enter(room, None, member, "label", hold, 1, 0, client)


def test_a_member_is_in_the_room_that_it_entered():
    rooms = Rooms()
    member, before = enter(rooms)
    assert before is None
    assert rooms.get("r").members == {"m": member}
    assert member.room in rooms


def test_members_are_kept_in_the_order_in_which_they_came():
    rooms = Rooms()
    for name in "cab":
        enter(rooms, member=name)
    assert list(rooms.get("r").members) == ["c", "a", "b"]


def test_a_seat_taken_back_names_the_one_that_held_it():
    rooms = Rooms()
    first, _ = enter(rooms, client="old")
    second, before = enter(rooms, client="new", hold="second")
    assert before is first
    assert rooms.get("r").members == {"m": second}


def test_a_replaced_holder_cannot_remove_its_successor():
    rooms = Rooms()
    first, _ = enter(rooms)
    second, _ = enter(rooms, hold="second")
    assert not rooms.remove(first)
    assert rooms.get("r").members == {"m": second}


def test_a_seat_is_removed_once():
    rooms = Rooms()
    member, _ = enter(rooms)
    enter(rooms, member="other")
    assert rooms.remove(member)
    assert not rooms.remove(member)


def test_a_room_without_members_is_forgotten():
    rooms = Rooms()
    member, _ = enter(rooms)
    rooms.remove(member)
    assert len(rooms) == 0
    assert rooms.get("r") is None
    assert member.room not in rooms


def test_a_forgotten_room_is_not_the_one_that_bears_its_name_later():
    rooms = Rooms()
    old, _ = enter(rooms)
    rooms.remove(old)
    enter(rooms, member="other")
    assert old.room not in rooms
    assert not rooms.remove(old)
    assert len(rooms) == 1


def test_rooms_may_change_while_one_looks_at_each():
    rooms = Rooms()
    members = [enter(rooms, room=name)[0] for name in "abc"]
    for _ in rooms:
        rooms.remove(members.pop())
    assert len(rooms) == 0
