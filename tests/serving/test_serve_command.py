"""``clr-infer serve`` around a server that does what a test says."""

import signal

import pytest

from clr_infer.cli import main, serve
from clr_infer.errors import ServerError
from clr_infer.serving import embedded


class Scripted:
    """Stands in for the server; is asked to end when it is looked after for the second time."""

    number = signal.SIGTERM
    http_url = grpc_url = metrics_url = "address"

    def __init__(self, options):
        self.options, self.done = options, []
        Scripted.last = self

    def start(self):
        return {"protect": 5.4}

    def watch(self):
        self.done.append("watch")
        count = len(self.done)
        if count == 2:
            signal.raise_signal(self.number)
        return [f"event {count}"]

    def end(self):
        self.done.append("end")

    def stop(self):
        self.done.append("stop")
        return True


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setattr(embedded, "EmbeddedServer", Scripted)
    monkeypatch.setattr(serve, "_WATCH_S", 0.001)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Scripted
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_looked_after_until_a_signal_and_then_stopped(monkeypatch, capsys, number):
    monkeypatch.setattr(Scripted, "number", number)
    assert main(["serve"]) == 0
    assert Scripted.last.done == ["watch", "watch", "end", "stop"]
    out, err = capsys.readouterr()
    assert "golden inference: protect 5 ms" in out
    assert err.splitlines()[-3:] == ["event 1", "event 2", "finishing what is under way"]


def test_a_signal_while_it_starts_ends_it(monkeypatch):
    monkeypatch.setattr(Scripted, "start", lambda server: signal.raise_signal(signal.SIGINT))
    assert main(["serve"]) == 130
    assert Scripted.last.done == ["stop"]


def test_a_second_signal_does_not_interrupt_the_end(monkeypatch):
    monkeypatch.setattr(Scripted, "start", lambda server: 1 / 0)
    monkeypatch.setattr(Scripted, "stop", lambda server: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(ZeroDivisionError):
        main(["serve"])
    assert Scripted.last.done == ["end"]


def test_a_server_that_had_to_be_killed_is_a_failure(monkeypatch):
    monkeypatch.setattr(Scripted, "stop", lambda server: False)
    assert main(["serve"]) == ServerError.exit_code


def test_the_options_reach_the_server():
    words = "--host ::1 --http-port 1 --grpc-port 2 --metrics-port 3 --max-pixels 9000000 --drain 4"
    words += " --golden-interval 5 --golden-timeout 6 --verbose --profile throughput --instances 7"
    assert main(["serve", *words.split()]) == 0
    told = Scripted.last.options
    assert (told.host, told.http_port, told.grpc_port, told.metrics_port) == ("::1", 1, 2, 3)
    assert (told.drain_s, told.golden_s, told.golden_timeout_s) == (4.0, 5.0, 6.0)
    assert told.settings.max_pixels == 9_000_000 and told.verbose
    assert told.profile.instances == 7 and told.profile.max_queue > 128
