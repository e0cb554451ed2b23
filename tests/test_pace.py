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
    for done in range(52, 80):
        clock.now += 2
        left = pace.seconds_left(done, 100)
        assert left == 2 * (100 - done) if done > 66 else left > 2 * (100 - done), "until more than 30 seconds passed"
    clock.now += 500
    assert pace.seconds_left(79, 100) == 2 * 21, "nothing was done since"
    clock.now += 4
    assert pace.seconds_left(100, 100) == 0


def test_steps_that_end_together_do_not_look_like_the_pace():
    clock = Clock()
    pace = Pace(clock)
    pace.seconds_left(0, 64)
    clock.now += 10
    for done in range(1, 9):  # eight workers, ten seconds each
        left = pace.seconds_left(done, 64)
        clock.now += 0.05
    assert 70 <= left <= 75
    clock.now += 10
    assert pace.seconds_left(16, 64) < 70


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
        "training, 0 of 6,100",
        "training, 60 of 6,100, about 1 h 41 min left of it",
        "training, 120 of 6,100, about 1 h 40 min left of it",
        "fda, 0 of 200",
    ]
