"""Operations on a chain, one after another, each told as a line of JSON: what worked, or how it failed.

Every operation checks its effect by reading it back, and tells the facts that a client of another make must find as
well; whoever listens looks them up and answers with a line before the next operation begins. So "ok" means that the
chain did it, that the client saw it, and that somebody else saw it too. A failure is told by the client's own type and
words; the test compares both with the table in docs/devchain-clients.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

TOKEN = 1_000_000_000
U16_MAX = 65_535
BLOCK_TIME_MS = 250
# What changes with every block is read and looked up while none comes.
WHILE_STILL = ("balance with stake",)
# Blocks that a condition may take: several epochs of the matrix's chain.
PATIENCE_BLOCKS = 500
# Clients print and log to stdout, from threads of their own as well, so what is told has a descriptor to itself: theirs
# goes where complaints go.
TOLD = os.fdopen(os.dup(sys.stdout.fileno()), "w")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


class Mismatch(Exception):
    """What was read back is not what was written, or two ways of reading disagree."""


def require(condition: object, what: str) -> None:
    if not condition:
        raise Mismatch(what)


def wait_for(what: str, seconds: float, condition: Callable[[], object]) -> object:
    """The condition's first truthy value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        require(time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.1)


def control(url: str, method: str, **parameters: object) -> None:
    """Calls one of the development chain's controls."""
    order = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url.replace("ws:", "http:", 1), json.dumps(order).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = json.load(answer)
    require("error" not in told, f"{method} answers {told}")


def mine(url: str, blocks: int) -> None:
    """Has the chain make blocks at once. A millisecond each by its clock, which must not run ahead of the clients'."""
    control(url, "dev_newBlock", count=blocks, advance_ms=1)


@contextmanager
def standing_still(url: str) -> Iterator[None]:
    """Blocks come with transactions only: an epoch lasts as long as a slow client needs."""
    control(url, "dev_setMining", mode="instant")
    yield
    control(url, "dev_setMining", mode="interval", block_time_ms=BLOCK_TIME_MS)


def mine_until(url: str, what: str, condition: Callable[[], object], step: int = 5) -> object:
    """The condition's first truthy value, with blocks made until then."""
    for _ in range(0, PATIENCE_BLOCKS, step):
        value = condition()
        if value:
            return value
        mine(url, step)
    raise Mismatch(f"{what} did not happen within {PATIENCE_BLOCKS} blocks")


def head(error: BaseException) -> str:
    """The first line of an error's words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else ""


FACTS: list[dict[str, object]] = []


def tell(fact: str, **values: object) -> None:
    """Something that a client of another make must find too, once this operation is done."""
    FACTS.append({"fact": fact, **values})


def attempt(operation: str, action: Callable[[], object]) -> bool:
    """Runs one operation, tells how it went, and waits until its facts were looked up."""
    began = time.monotonic()
    told: dict[str, object] = {"operation": operation}
    FACTS.clear()
    try:
        detail = action()
        told.update(outcome="ok", facts=FACTS)
        if detail is not None:
            told["detail"] = detail
    except Exception as error:  # Whatever the client raises is the finding.
        told.update(outcome="failed", error=type(error).__name__, message=head(error))
    told["seconds"] = round(time.monotonic() - began, 2)
    print(json.dumps(told, default=str), file=TOLD, flush=True)
    sys.stdin.readline()
    return told["outcome"] == "ok"


def run(url: str, operations: Iterable[tuple[str, Callable[[], object]]]) -> None:
    """Runs operations one after another; none where the client does not even connect."""
    for operation, action in operations:
        with standing_still(url) if operation in WHILE_STILL else nullcontext():
            worked = attempt(operation, action)
        if not worked and operation == "connect":
            return
