"""The order book: what is to be rendered, where it goes, and what became of it."""

import os

# pyarrow's own allocator keeps what each thread once used, and records are packed by whichever thread is at
# it, so that a run's memory would grow by a kilobyte a task. It is read when pyarrow is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
