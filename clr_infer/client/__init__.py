"""The thin client of a Triton server that serves our models: numpy and tritonclient alone.

::

    from clr_infer.client import Client

    with Client("grpc://localhost:8001") as client:
        found = client.recover(fragment)                    # the same results as a Session
        content = client.protect_encoded(file_bytes).content  # bytes in, bytes out
"""

from .asynchronous import AsyncClient
from .calls import Encoded
from .retry import Retry
from .synchronous import Client

__all__ = ["AsyncClient", "Client", "Encoded", "Retry"]
