"""What is left is told by the pace, without what happens once, and in words."""

from reread.experiment import EVERY, spoken
from reread.pace import Pace, duration


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_pace_leaves_out_the_first_step_as_soon_as_there_is_another():
    clock = Clock()
    pace = Pace(clock)
    assert pace.seconds_left(50, 100) is None, "50 were done before: nothing is known of the pace"
    clock.now += 30
    assert pace.seconds_left(51, 100) == 30 * 49
    for done in range(52, 60):
        clock.now += 2
        assert pace.seconds_left(done, 100) == 2 * (100 - done)
    clock.now += 500
    assert pace.seconds_left(59, 100) == 2 * 41, "nothing was done since"
    clock.now += 4
    assert pace.seconds_left(100, 100) == 0


def test_durations_are_words():
    assert [duration(s) for s in (5, 700, 11_100)] == ["5 s", "12 min", "3 h 05 min"]


def test_a_cell_says_what_begins_and_now_and_then_how_long_it_has_left():
    clock, said = Clock(), []
    progress = spoken(said.append, clock)
    for step in range(0, 130):
        progress("training", step, 6100)
        clock.now += 1
    progress("fda", 0, 200)
    assert EVERY == 60.0
    assert said == [
        "training, 0 of 6100",
        "training, 60 of 6100, about 1 h 41 min left",
        "training, 120 of 6100, about 1 h 40 min left",
        "fda, 0 of 200",
    ]
