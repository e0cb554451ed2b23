"""`python -m reread` and the `reread` command.

Ctrl-C is exit code 130 without a traceback, from the first import to the end of the process.  This module imports
only what the interpreter has loaded by itself, because nothing can be handled before it is imported.
"""

import os
import sys

INTERRUPTED = 130
IMPORTING = "<frozen importlib._bootstrap>"  # the file of the frame that runs an import
AGAIN = 0.01  # seconds until an interrupt that was lost is sent again
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any


def end_now(number: int = 0, frame: "FrameType | None" = None) -> None:
    """End this process at once.  For the times at which nothing is being written: imports before, the end after."""
    os._exit(INTERRUPTED)


def interrupt(number: int, frame: "FrameType | None") -> None:
    """Raise KeyboardInterrupt; during an import end the process: a library may catch the exception, report it as a
    missing module, or let it reach C++, which aborts."""
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            end_now()
        frame = frame.f_back
    raise KeyboardInterrupt


def lost(unraisable: "Any", others: "Any" = sys.__unraisablehook__) -> None:
    """Send an interrupt again that came during a finaliser or a callback of a weak reference: Python prints an
    exception of these and goes on.  `unraisable`: the argument of `sys.unraisablehook`; other exceptions go to
    `others`."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        return others(unraisable)
    import _thread
    import time

    def later() -> None:
        time.sleep(AGAIN)
        _thread.interrupt_main()

    _thread.start_new_thread(later, ())


def watch() -> bool:
    """Handle Ctrl-C with `interrupt`; False where it is ignored (a job in the background) or handled by others."""
    import signal

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread
        return False
    sys.unraisablehook = lost
    return True


def main() -> None:
    """Run the command.  Raises SystemExit with its exit code, 130 after Ctrl-C."""
    watched = False
    try:
        watched = watch()
        from reread.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        if watched:
            flush()
            import signal

            signal.signal(signal.SIGINT, end_now)  # what the interpreter does at its end has no handler


def flush() -> None:
    """Write what was printed, as far as there is somebody who reads it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed by who read it, or never there
            continue


if __name__ == "__main__":
    main()
