"""What a supervisor asks of its server, on a scripted one that speaks gRPC."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from clr_infer.errors import AccessDenied, ServerError, ServerUnavailable
from clr_infer.serving import admin
from clr_infer.serving.admin import Admin

service_pb2 = pytest.importorskip("tritonclient.grpc").service_pb2
service_pb2_grpc = pytest.importorskip("tritonclient.grpc").service_pb2_grpc


class Scripted(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A server whose repository has the states of a script, the last one for ever."""

    def __init__(self):
        self.ready, self.asked, self.states, self.left_s = True, [], [{}], []

    def _note(self, what, context):
        if dict(context.invocation_metadata()).get("triton-grpc-protocol-admin") != "secret":
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted")
        self.asked.append(what)
        self.left_s.append(context.time_remaining())

    def ServerReady(self, request, context):
        return service_pb2.ServerReadyResponse(ready=self.ready)

    def RepositoryModelUnload(self, request, context):
        self._note(f"unload {request.model_name}", context)
        return service_pb2.RepositoryModelUnloadResponse()

    def RepositoryModelLoad(self, request, context):
        self._note(f"load {request.model_name}", context)
        return service_pb2.RepositoryModelLoadResponse()

    def RepositoryIndex(self, request, context):
        self._note("index", context)
        now = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        model = service_pb2.RepositoryIndexResponse.ModelIndex
        models = [model(name=name, state=state) for name, state in now.items()]
        return service_pb2.RepositoryIndexResponse(models=models)


@pytest.fixture
def scripted():
    server, service = grpc.server(ThreadPoolExecutor(2)), Scripted()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(None)


def test_a_server_is_ready_when_it_says_so(scripted):
    with Admin(scripted.address, "secret") as asked:
        assert asked.ready()
        scripted.ready = False
        assert not asked.ready()


def test_nobody_there_is_unavailable():
    with Admin("127.0.0.1:1", "secret") as asked, pytest.raises(ServerUnavailable):
        asked.ready()


def test_a_model_is_unloaded_before_it_is_loaded_again(scripted):
    with Admin(scripted.address, "secret") as asked:
        asked.reload("a")
    assert scripted.asked == ["unload a", "load a"]
    with Admin(scripted.address, "another") as asked, pytest.raises(AccessDenied):
        asked.reload("a")


def test_draining_waits_for_what_is_under_way_in_these_models_alone(scripted):
    busy, done = {"a": "UNLOADING", "b": "READY", "c": "READY"}, {"a": "UNAVAILABLE", "c": "READY"}
    scripted.states = [busy, busy | {"b": "UNAVAILABLE"}, done]
    with Admin(scripted.address, "secret") as asked:
        asked.drain(["a", "b"], time.monotonic() + 20.0)
    assert max(scripted.left_s) <= 20.0
    assert scripted.asked == ["unload a", "unload b", *["index"] * 3]


def test_draining_ends_when_its_time_is_over(scripted, monkeypatch):
    monkeypatch.setattr(admin, "_LEAST_S", 5.0)
    scripted.states = [{"b": "UNLOADING", "a": "READY", "c": "READY"}]
    with Admin(scripted.address, "secret") as asked:
        with pytest.raises(ServerError, match="still at work: a, b$"):
            asked.drain(["a", "b"], time.monotonic())
