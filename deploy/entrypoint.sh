#!/bin/sh
# Triton server as production wants it: nothing about it can be changed from outside. The protocols
# that could are locked with a secret that is drawn here and told to nobody.
set -eu
secret="closed=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
closed="model-repository,shared-memory,trace,logging"
exec tritonserver \
    --model-repository="${MODELS:-/models}" \
    --model-control-mode=none \
    --disable-auto-complete-config \
    --strict-readiness=true \
    --exit-on-error=true \
    --exit-timeout-secs="${DRAIN_S:-30}" \
    --grpc-restricted-protocol="$closed:$secret" \
    --http-restricted-api="$closed:$secret" \
    "$@"
