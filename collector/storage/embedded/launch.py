"""Turn into a database program with a given identity and lifeline; run as a script of its own.

`python launch.py '<plan as JSON>'` takes the identity, ties its life to its parent and then *becomes* the command
(exec), so the parent keeps a direct child with the command's own exit code. Standard library only, nothing of ours.

The plan: `command` (list of str), `mode` (`same`, `setuid` or `namespace`), `uid` and `gid` to become, `reach`
(list of `[path, access bits]` the command must be able to use), `parent` (pid that must still be our parent),
`signal` (sent to the command when the parent dies) and `lifeline` (read end of a pipe the parent holds open;
null where the kernel can send the signal itself).

Guarantees: the command runs with no group of the parent, with no capability beyond the one it needs to reach its
files, and never outlives its parent. Exit status 96 and one line on stderr when the identity cannot be taken.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Never

CANNOT_LAUNCH = 96

# linux/prctl.h, linux/capability.h, linux/securebits.h, linux/sched.h: numbers of the kernel's ABI.
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_KILL, CAP_SETPCAP = 1, 2, 5, 8
CLONE_NEWUSER = 0x10000000


def main() -> Never:
    """Follow the plan in the first argument; never returns."""
    plan: dict[str, Any] = json.loads(sys.argv[1])
    try:
        if plan["mode"] == "setuid":
            become_user(plan["uid"], plan["gid"], plan["reach"])
        elif plan["mode"] == "namespace":
            enter_namespace(plan["uid"], plan["gid"])
        _require_access(plan["reach"])
        # Only now: every change of identity clears the death signal (a first version left orphans that way).
        tie_to_parent(plan["parent"], plan["signal"], plan["lifeline"])
        os.execv(plan["command"][0], plan["command"])  # noqa: S606 - no shell is the point
    except OSError as error:
        _refuse(f"{error.strerror}: {error.filename or plan['command'][0]}")


def become_user(uid: int, gid: int, reach: list[tuple[str, int]]) -> None:
    """Become `uid` for good, keeping a capability only when a path in `reach` is closed to that user.

    A repository or virtual environment below a 0700 folder of root is the case: its modes are not ours to widen,
    so the server keeps the right to walk through (DAC_READ_SEARCH) or, when files themselves are closed or the
    container withholds the weaker right, DAC_OVERRIDE.
    """
    if sys.platform == "linux" and not _permitted_capabilities() & 1 << CAP_KILL:
        _refuse("without the right to signal other users' processes it could not be stopped")
    os.setgroups([])
    os.setgid(gid)
    if sys.platform == "linux":
        _prctl(PR_SET_KEEPCAPS, 1)
    os.setuid(uid)
    if sys.platform != "linux":
        return
    if _reachable(reach):
        _set_capabilities(effective=0, permitted=0, inheritable=0)
        return
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if keep_capability(capability) and _reachable(reach):
            _set_capabilities(effective=1 << capability, permitted=1 << capability, inheritable=1 << capability)
            _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)
            return


def keep_capability(capability: int) -> bool:
    """Make `capability` count for this process, in access(2) too; false when the container withholds it.

    access(2) ignores the capabilities of a non-root user unless NO_SETUID_FIXUP is set, and the server looks for
    its own programs with access(2).
    """
    wanted = 1 << capability | 1 << CAP_SETPCAP
    try:
        _set_capabilities(effective=wanted, permitted=_permitted_capabilities(), inheritable=wanted)
        _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    except OSError:
        return False
    return True


def enter_namespace(uid: int, gid: int) -> None:
    """Be `uid` in a user namespace of one id: outside still root, owner of root's files, but without any capability.

    For root that cannot become anybody else, as in a container that maps only id 0.
    """
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    _check(_libc().unshare(CLONE_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")  # the kernel demands it before a gid map without CAP_SETGID
    Path("/proc/self/gid_map").write_text(f"{gid} {outside_gid} 1")
    Path("/proc/self/uid_map").write_text(f"{uid} {outside_uid} 1")


def _reachable(reach: list[tuple[str, int]]) -> bool:
    return all(os.access(path, bits) for path, bits in reach)


def _require_access(reach: list[tuple[str, int]]) -> None:
    for path, bits in reach:
        if not os.access(path, bits):
            _refuse(f"user id {os.geteuid()} cannot reach {path}")


def tie_to_parent(parent: int, signal_number: int, lifeline: int | None) -> None:
    """Arrange that this process gets `signal_number` when `parent` dies, and go no further if it is dead already."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if lifeline is None:
        _prctl(PR_SET_PDEATHSIG, signal_number)
    else:
        watch_lifeline(lifeline, signal_number)
    if os.getppid() != parent:
        _refuse("the process that wanted a database server is gone")


def watch_lifeline(lifeline: int, signal_number: int) -> None:
    """Leave a small child behind that signals its parent, the future server, when the pipe closes.

    It asks for its parent's pid at that moment, so it can only ever signal the process that made it. It holds
    nothing but the pipe: the server's lock must fall with the server.
    """
    server = os.getpid()
    if os.fork() > 0:
        os.close(lifeline)
        return
    os.closerange(0, lifeline)
    os.closerange(lifeline + 1, 1024)
    while os.read(lifeline, 1):
        pass
    if os.getppid() == server:
        os.kill(server, signal_number)
    os._exit(0)


def _refuse(reason: str) -> Never:
    sys.stderr.write(f"FATAL:  {reason}\n")
    sys.stderr.flush()
    os._exit(CANNOT_LAUNCH)


class CapabilityHeader(ctypes.Structure):
    """struct __user_cap_header_struct."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilityWord(ctypes.Structure):
    """struct __user_cap_data_struct: one half of the 64 capabilities."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _permitted_capabilities() -> int:
    header, words = CapabilityHeader(CAPABILITY_VERSION_3, 0), (CapabilityWord * 2)()
    _check(_libc().capget(ctypes.byref(header), words), "capget")
    return int(words[0].permitted) | int(words[1].permitted) << 32


def _set_capabilities(*, effective: int, permitted: int, inheritable: int) -> None:
    header, words = CapabilityHeader(CAPABILITY_VERSION_3, 0), (CapabilityWord * 2)()
    for half in (0, 1):
        shift = 32 * half
        words[half].effective = effective >> shift & 0xFFFFFFFF
        words[half].permitted = permitted >> shift & 0xFFFFFFFF
        words[half].inheritable = inheritable >> shift & 0xFFFFFFFF
    _check(_libc().capset(ctypes.byref(header), words), "capset")


def _prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc().prctl(option, *words), f"prctl {option}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)


if __name__ == "__main__":
    main()
