"""Runs a command that sees and changes only what it is given. Started by its path; imports only the standard library.

`argv[1]` is JSON: `command`, `environment` (the names of those variables of this process that the command gets), `folder` (where
it starts), `memory` (bytes of a process), `isolate`, `root` (an empty folder), `reads` and `writes` (files and folders),
`network`. Stdin, stdout and stderr are the command's, and so is the exit code; 77, with the reason on stderr, if this host lacks
isolation.

The isolation: user, mount, process, IPC and host-name namespaces of its own, and one for the network unless it may use that; a
root in memory with the given folders, read-only but for `writes`; no capability and no new privileges.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

NO_ISOLATION = 77
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_PDEATHSIG, _CAPBSET_DROP, _SECUREBITS, _NO_NEW_PRIVS, _NOROOT_LOCKED = 1, 24, 28, 38, 0x3F
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_ROOT_BYTES = 64_000_000


def _require_zero(result: int, call: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _require_zero(_LIBC.mount(*texts, ctypes.c_ulong(flags), None if options is None else options.encode()), f"mount {target}")


def _enter_namespaces(network: bool) -> None:
    user, group = os.getuid(), os.getgid()
    kinds = _NEWUSER | _NEWNS | _NEWPID | _NEWIPC | _NEWUTS | (0 if network else _NEWNET)
    _require_zero(_LIBC.unshare(kinds), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _bind(source: str, root: str, *, writable: bool) -> None:
    target = root + source
    if os.path.islink(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a"):
            pass
    _mount(source, target, None, _BIND | _REC)
    if not writable:
        read_only = (ctypes.c_uint64 * 4)(1, 0, 0, 0)
        path = os.fsencode(target)
        done = _LIBC.syscall(_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(read_only), ctypes.sizeof(read_only))
        _require_zero(done, f"mount_setattr {target}")


def _enter_new_root(settings: dict[str, Any]) -> None:
    root = settings["root"]
    _mount("none", "/", None, _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, f"size={_ROOT_BYTES},mode=755")
    for path in settings["reads"]:
        if os.path.exists(path):
            _bind(path, root, writable=False)
    for path in (*settings["writes"], *_DEVICES):
        _bind(path, root, writable=True)
    for name in ("tmp", ".before"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    pivot_root = _PIVOT_ROOT[os.uname().machine]
    _require_zero(_LIBC.syscall(pivot_root, os.fsencode(root), os.fsencode(f"{root}/.before")), "pivot_root")
    os.chdir("/")
    _require_zero(_LIBC.umount2(b"/.before", 2), "umount2")
    os.rmdir("/.before")


def _drop_capabilities() -> None:
    for capability in range(64):
        _LIBC.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    _require_zero(_LIBC.prctl(_SECUREBITS, _NOROOT_LOCKED, 0, 0, 0), "securebits")
    _require_zero(_LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def _isolate(settings: dict[str, Any]) -> None:
    """Returns in the isolated process; the one that was started waits for its end."""
    _enter_namespaces(settings["network"])
    child = os.fork()
    if child:
        os.closerange(0, 2)  # what the command leaves of its pipes must reach their ends
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _enter_new_root(settings)
    _drop_capabilities()


def main() -> None:
    settings = json.loads(sys.argv[1])
    environment = {name: os.environ[name] for name in settings["environment"] if name in os.environ}
    try:
        if settings["isolate"]:
            _isolate(settings)
        resource.setrlimit(resource.RLIMIT_AS, (settings["memory"], settings["memory"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, KeyError) as error:
        os.write(2, f"{type(error).__name__}: {error}".encode())
        os._exit(NO_ISOLATION)
    try:
        os.chdir(settings["folder"])
    except OSError:
        os.chdir("/tmp")
    try:
        os.execvpe(settings["command"][0], settings["command"], environment)
    except OSError as error:
        os.write(2, f"{type(error).__name__}: {error}".encode())
        os._exit(127)


if __name__ == "__main__":
    main()
