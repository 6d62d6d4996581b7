"""What a server's refusal is raised as."""

import pytest

from clr_infer import errors
from clr_infer.client.failures import failure
from clr_infer.errors import DeadlineExceeded, ImageError, RequestRefused, ServerUnavailable


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("StatusCode.UNAVAILABLE", "socket closed", ServerUnavailable),
        ("503", "Exceeds maximum queue size", ServerUnavailable),
        ("StatusCode.NOT_FOUND", "no model x", errors.ModelNotServed),
        ("404", "no model x", errors.ModelNotServed),
        ("StatusCode.NOT_FOUND", "model x is not ready", ServerUnavailable),
        ("404", "unknown model: 'x' has no available versions", ServerUnavailable),
        ("400", "requested model version is not available for model 'x'", ServerUnavailable),
        ("429", "not so fast", ServerUnavailable),
        ("StatusCode.RESOURCE_EXHAUSTED", "a message is too large", RequestRefused),
        ("StatusCode.INVALID_ARGUMENT", "wrong shape", RequestRefused),
        ("400", "wrong shape", RequestRefused),
        ("400", "ImageError: too small", ImageError),
        ("StatusCode.INVALID_ARGUMENT", "InputError: too much", errors.InputError),
        ("400", "WeightsError: a server's own trouble", RequestRefused),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded),
        ("StatusCode.CANCELLED", "the client no longer waits", DeadlineExceeded),
        ("499", "the client no longer waits", DeadlineExceeded),
        ("StatusCode.UNAUTHENTICATED", "who?", errors.AccessDenied),
        ("401", "who?", errors.AccessDenied),
        ("StatusCode.PERMISSION_DENIED", "not you", errors.AccessDenied),
        ("403", "not you", errors.AccessDenied),
        ("UNAVAILABLE", "This protocol is restricted, expecting x", errors.AccessDenied),
        ("403", "This API is restricted, expecting x", errors.AccessDenied),
        ("500", "oh", errors.ServerError),
        (None, "", errors.ServerError),
    ],
)
def test_statuses_become_errors(status, message, kind):
    error = failure(status, message)
    assert type(error) is kind and str(error)
    if isinstance(error, errors.ServerError):
        assert error.exit_code == 4
