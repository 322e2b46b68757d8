import asyncio

import pytest

from executor.alarm import Alarm
from executor.idle import IdleTime


def test_an_alarm_calls_what_it_was_last_set_to_and_once():
    async def scenario():
        alarm, calls = Alarm(), asyncio.Queue()
        alarm.set(3600, lambda: calls.put_nowait("late"))
        alarm.set(0.001, lambda: calls.put_nowait("soon"))
        assert alarm.is_set
        assert await asyncio.wait_for(calls.get(), 30) == "soon"
        assert not alarm.is_set
        assert calls.empty()

    asyncio.run(scenario())


def test_an_alarm_that_is_put_off_comes_at_its_new_time():
    async def scenario():
        alarm, calls = Alarm(), asyncio.Queue()
        now = asyncio.get_running_loop().time
        alarm.set(0.001, lambda: calls.put_nowait(0.0))
        until = now() + 0.05
        alarm.set(0.05, lambda: calls.put_nowait(now()))
        assert await asyncio.wait_for(calls.get(), 30) >= until

    asyncio.run(scenario())


@pytest.mark.parametrize("ends", [Alarm.clear, Alarm.end])
def test_an_alarm_that_is_cleared_calls_nothing_until_it_is_set_again(ends):
    async def scenario():
        alarm, calls = Alarm(), asyncio.Queue()
        alarm.set(0.001, lambda: calls.put_nowait("first"))
        ends(alarm)
        assert not alarm.is_set
        other = Alarm()
        other.set(0.002, lambda: calls.put_nowait("other"))
        assert await asyncio.wait_for(calls.get(), 30) == "other"
        alarm.set(0.001, lambda: calls.put_nowait("second"))
        assert await asyncio.wait_for(calls.get(), 30) == "second"

    asyncio.run(scenario())


def test_an_alarm_that_has_ended_leaves_nothing_with_the_loop():
    async def scenario():
        alarm = Alarm()
        alarm.set(3600, lambda: None)
        timer = alarm._timer
        alarm.end()
        alarm.end()
        assert timer.cancelled()
        assert alarm._timer is None

    asyncio.run(scenario())


def test_idle_time_that_has_ended_does_not_begin_again():
    async def scenario():
        idle = IdleTime(3600, lambda: None)
        idle.rest()
        assert idle.passes
        idle.end()
        idle.rest()
        assert not idle.passes

    asyncio.run(scenario())
