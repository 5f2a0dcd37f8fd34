"""Waiting for what comes in its own time: a test goes on as soon as it is there, and fails when it does not come."""
import time


def until(what, seconds=30):
    """The first true answer of what()."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)
