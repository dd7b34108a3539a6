"""The models' thread does what it is asked, in order, and tells whoever still waits."""

import asyncio
import threading

import pytest
import torch
from avf_server.models.thread import ModelThread


async def test_work_is_done_in_order_on_one_thread() -> None:
    """Another one than the loop's, with as many of torch's inside as it was told."""
    thread = ModelThread(threads=1)
    done: list[int] = []

    def work(number: int) -> tuple[int, str, int]:
        done.append(number)
        return number, threading.current_thread().name, torch.get_num_threads()

    found = await asyncio.gather(*(thread.run(lambda i=i: work(i)) for i in range(20)))  # type: ignore[misc]
    assert found == [(i, "avf-engine", 1) for i in range(20)]
    assert done == list(range(20))
    thread.close()


async def test_what_is_raised_is_told_and_the_thread_goes_on() -> None:
    """To the one who asked, and to no other."""
    thread = ModelThread(threads=1)

    def fail() -> int:
        raise ValueError("no such row")

    failed, fine = await asyncio.gather(thread.run(fail), thread.run(lambda: 7), return_exceptions=True)
    assert isinstance(failed, ValueError)
    assert fine == 7
    thread.close()


async def test_who_leaves_before_it_began_wants_none_of_it() -> None:
    """What is under way is finished, and what waits behind it is not begun for nobody."""
    thread, began, held = ModelThread(threads=1), threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        began.set()
        held.wait(60.0)
        done.append("first")

    tasks = [asyncio.create_task(thread.run(first)), asyncio.create_task(thread.run(lambda: done.append("second")))]
    while not began.is_set():
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    held.set()
    assert await thread.run(lambda: "third") == "third"
    assert done == ["first"]
    thread.close()


def test_a_loop_that_has_ended_is_told_nothing() -> None:
    """The thread goes on for another one, and ends when it is closed."""
    thread, held = ModelThread(threads=1), threading.Event()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(thread.run(lambda: held.wait(60.0)), 0.0)

    asyncio.run(leave())
    held.set()
    assert asyncio.run(thread.run(lambda: 5)) == 5
    thread.close()
    assert thread._thread is not None
    assert not thread._thread.is_alive()


def test_a_thread_that_nothing_was_asked_of_closes() -> None:
    """It was never begun."""
    ModelThread(threads=2).close()
