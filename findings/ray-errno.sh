#!/usr/bin/env bash
# Ray 2.60.0: an OSError that a task raises, as ray.get raises it again.
# One would guess: it is an OSError (except says so), so its errno tells a full disk from a lost picture.
# What happens: errno, strerror and filename are None, and args[0] is the original error. Only
#   error.cause.errno has it. Attributes of errors written in Python come through.
# Why it matters: "if error.errno == ENOSPC: wait, else: the picture is bad" takes the wrong branch in
#   the driver, always, and the same line is right within a worker.
# Source: RayTaskError's dual exception class (ray/exceptions.py) never initialises its OSError part, and
#   its __getattr__ hands on what is not found, but an OSError's slots are always found. Ray's
#   documentation of task exceptions says that the error is an instance of both types.
set -euo pipefail

work=$(mktemp -d /tmp/rayXXXXXX) # short: Ray's sockets lie below, and their paths have a limit
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0

export HOME=$work RAY_TMPDIR=$work RAY_USAGE_STATS_ENABLED=0
"$work/venv/bin/python" - <<'PYTHON'
import errno
import sys

import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print(f"Ray {ray.__version__}")


@ray.remote(max_retries=0)
def store(kind):
    class Refused(Exception):
        def __init__(self, number):
            super().__init__(number)
            self.errno = number

    if kind == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "/out/picture.png")
    if kind == "missing":
        open("/no/such/picture.png", "rb")
    raise Refused(errno.ENOSPC)


def fields(error):
    return tuple(getattr(error, name, "-") for name in ("errno", "strerror", "filename"))


failed = False
for kind, number, path in (
    ("full", errno.ENOSPC, "/out/picture.png"),
    ("missing", errno.ENOENT, "/no/such/picture.png"),
):
    try:
        ray.get(store.remote(kind))
    except OSError as error:
        print(f"{kind}: {type(error).__name__}, an OSError; errno, strerror, filename: {fields(error)}")
        print(f"  args[0]: {error.args[0]!r}")
        print(f"  of its cause: {fields(error.cause)}")
        failed |= fields(error) != (None, None, None) or not isinstance(error.args[0], OSError)
        failed |= error.cause.errno != number or error.cause.filename != path
        failed |= isinstance(error, FileNotFoundError) != (kind == "missing")

try:
    ray.get(store.remote("refused"))
except Exception as error:
    print(f"an error written in Python: {type(error).__name__}, errno: {error.errno}")
    failed |= error.errno != errno.ENOSPC
ray.shutdown()

if failed:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: it is an OSError without its errno")
PYTHON
