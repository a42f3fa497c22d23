"""The walls of the jail, by system calls: namespaces, a root folder of its own, dropped rights. Standard library only.

It is imported by `jail.py`, a script that sees no other part of the package.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterable

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_NOATIME, _NODIRATIME, _RELATIME, _DETACH = 1024, 2048, 1 << 21, 2
_PDEATHSIG, _SUBREAPER, _NO_NEW_PRIVS = 1, 36, 38
_CAPABILITIES = 0x20080522
NOBODY = 65534
BOX = "/box"
"""The working folder of the program, in a root folder of its own."""
_SHOWN = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/localtime")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def die_with_parent() -> None:
    """The process is killed when the one that started it ends."""
    _call("prctl", _PDEATHSIG, 9, 0, 0, 0)


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process, also those in a session of their own."""
    _call("prctl", _SUBREAPER, 1, 0, 0, 0)


def separate() -> int:
    """Leaves as many of the system's namespaces as it may; the flags of those it left."""
    wanted = NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS
    user, group = os.getuid(), os.getgid()
    first = wanted if user == 0 else wanted | NEWUSER
    for flags in (first, wanted | NEWUSER, NEWUSER | NEWNET | NEWPID, NEWNET, NEWPID):
        try:
            _call("unshare", ctypes.c_int(flags))
        except OSError:
            continue
        if flags & NEWUSER:
            _map_user(user, group)
        return flags
    return 0


def _map_user(user: int, group: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {user} 1"), ("gid_map", f"1000 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as opened:
            opened.write(text)


def shut_in(folder: str, packages: Iterable[str], size: int) -> bool:
    """Makes the process's root folder an empty one in memory, at most `size` bytes, with the interpreter, its packages
    and the system's libraries in it, read-only. False when the system does not let it."""
    try:
        _call("mount", b"none", b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None)
        options = f"size={size},mode=755,nr_inodes=4096".encode()
        _call("mount", b"tmpfs", folder.encode(), b"tmpfs", ctypes.c_ulong(_NOSUID | _NODEV), options)
        for path in [*_SHOWN, sys.base_prefix, sys.base_exec_prefix, *packages]:
            _show(folder, path, read_only=True)
        for path in _DEVICES:
            _show(folder, path, read_only=False)
        os.mkdir(f"{folder}{BOX}", 0o700)
        if os.path.isdir(f"{folder}/tmp"):  # the packages lie below it
            os.chmod(f"{folder}/tmp", 0o1777)
        else:
            os.symlink(BOX, f"{folder}/tmp")
        os.mkdir(f"{folder}/old")
        os.chdir(folder)
        _call("pivot_root", b".", b"old")
    except OSError:
        return False
    os.chdir("/")
    _call("umount2", b"/old", ctypes.c_int(_DETACH))
    os.rmdir("/old")
    return True


def _show(folder: str, path: str, read_only: bool) -> None:
    """Lets a path of the system be seen at its own place under a folder."""
    place = f"{folder}{path}"
    if not os.path.lexists(path) or os.path.lexists(place):
        return
    os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
    if os.path.islink(path) and os.path.isdir(path):
        os.symlink(os.readlink(path), place)
        if not os.path.exists(place):
            _show(folder, os.path.realpath(path), read_only)
        return
    if os.path.isdir(path):
        os.mkdir(place, 0o755)
    else:
        open(place, "xb").close()
    _call("mount", path.encode(), place.encode(), None, ctypes.c_ulong(_BIND | _REC), None)
    if read_only:
        # Flags that the mount came with may be locked: what is not repeated would be lifted, and that is refused.
        held = os.statvfs(place).f_flag
        kept = held & (_NODEV | _NOEXEC | _NOATIME | _NODIRATIME)
        if held & 4096:  # how statvfs says relatime
            kept |= _RELATIME
        flags = _BIND | _REMOUNT | _RDONLY | _NOSUID | kept
        _call("mount", None, place.encode(), None, ctypes.c_ulong(flags), None)


def own(folder: str) -> None:
    """Gives a folder to nobody, and to nobody else."""
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    os.chmod(folder, 0o700)


def drop_rights() -> bool:
    """Becomes nobody when it was root, and gives up every capability and every way to get one; whether it is not the
    user who started it."""
    was_root = os.getuid() == 0
    if was_root:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    _call("capset", header, nothing)
    return was_root


def limit(seconds: float, memory: int, files: int, processes: int) -> None:
    """The limits that hold for a process and what it starts."""
    cpu = int(seconds) + 1
    for what, bound in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, files),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, hard = resource.getrlimit(what)
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (bound, bound))
