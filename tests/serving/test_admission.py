"""What an image-level model takes in, and works on."""

import threading

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


def test_nothing_is_lost_between_threads():
    admission = Admission(requests=8, input_bytes=1000)
    most, inside, lock = 0, 0, threading.Lock()

    def work():
        nonlocal most, inside
        for _ in range(500):
            if admission.enter(100):
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1
                admission.leave(100)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < most <= 8
    assert all(admission.enter(100) for _ in range(8)) and not admission.enter(100)


def test_pixels_are_worked_on_as_far_as_there_is_room():
    room, inside, entered = Room(100), threading.Event(), threading.Event()

    def work():
        inside.wait(5)
        with room.taken(1000):  # more than all: alone
            entered.set()

    thread = threading.Thread(target=work)
    thread.start()
    with room.taken(40), room.taken(60), room.taken(0):
        inside.set()
        assert not entered.wait(0.2)
    assert entered.wait(5)
    thread.join()
    with room.taken(100):
        pass
