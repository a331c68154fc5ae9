"""Runs a program for a side and learns how large it got; only the standard library.

The system tells no smaller peak of a program than that of the process that started it (`ru_maxrss` lives through exec).
So a side, which may be large, starts this file as a small process, `python launch.py FD PROGRAM [ARGUMENT ...]`, and
this one the program, with the same standard streams and exit status. The highest resident size of the program, or of
the largest of its own children if larger, goes to FD in kilobytes.
"""

import os
import resource
import sys
from collections.abc import Mapping

programs_kb: list[int] = []  # highest resident size of each program that was run, until a side forgets them


def program(*words: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a program to its end, and note its peak. Raises RuntimeError when it fails."""
    import subprocess  # noqa: PLC0415 - the small process does without

    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-S", __file__, str(writing), *words]
    with os.fdopen(reading, encoding="ascii") as told:
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, pass_fds=[writing]
            )
        finally:
            os.close(writing)
        programs_kb.append(int(told.read() or 0))
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}")


def main() -> int:
    """Run the program and tell its peak."""
    told, words = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(told, False)
    _, status = os.waitpid(os.posix_spawn(words[0], words, os.environ), 0)
    os.write(told, str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss).encode())
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
