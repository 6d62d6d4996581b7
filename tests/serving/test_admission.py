"""What an image-level model takes in, and works on."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from clr_infer.serving.admission import Admission, Room


def test_requests_and_bytes_are_limited_and_given_back():
    admission = Admission(requests=2, input_bytes=100)
    assert admission.enter(40) and not admission.enter(61)
    assert admission.enter(60) and not admission.enter(0)
    admission.leave(40)
    assert admission.enter(40)


def test_one_large_request_is_let_in_alone():
    admission = Admission(requests=3, input_bytes=100)
    assert admission.enter(1000) and not admission.enter(1)
    admission.leave(1000)
    assert admission.enter(1) and not admission.enter(1000)


class _Slow(int):
    """A limit that is compared with while others go on."""

    def __le__(self, other):
        time.sleep(0.001)
        return int.__le__(self, other)


def test_no_more_are_let_in_where_threads_ask_at_once():
    admission = Admission(requests=_Slow(2), input_bytes=1000)
    most, inside, lock = 0, 0, threading.Lock()

    def work():
        nonlocal most, inside
        for _ in range(20):
            if admission.enter(100):
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.001)
                with lock:
                    inside -= 1
                admission.leave(100)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < most <= 2
    assert all(admission.enter(100) for _ in range(2)) and not admission.enter(100)


def test_pixels_are_worked_on_as_far_as_there_is_room():
    room, inside, entered = Room(100), threading.Event(), threading.Event()

    def work():
        inside.wait(5)
        with room.taken(1000):  # more than all: alone
            entered.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with room.taken(40), room.taken(60), room.taken(0):
        inside.set()
        assert not entered.wait(0.2)
    assert entered.wait(5)
    thread.join()
    with room.taken(100):
        pass


def test_all_that_there_is_room_for_go_on_at_once():
    room, together = Room(100), threading.Barrier(2)

    def work():
        with room.taken(50):
            together.wait(5)

    with ThreadPoolExecutor(2) as pool:
        with room.taken(100):
            under_way = [pool.submit(work) for _ in range(2)]
            time.sleep(0.2)
        for one in under_way:
            one.result()
