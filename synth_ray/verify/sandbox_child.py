"""Runs one program in isolation. This script is started by path and imports only the standard library.

`argv[1]` is JSON: `root` (an empty folder), `readable` (folders of the interpreter), `python`, `memory` and `disk` (bytes),
`cpu_s`, `harness` (source code). Stdin and stdout are the program's. Exit codes: the program's own; 77 if this host lacks
isolation.

The isolation: a user, mount, process, network, IPC and host-name namespace of its own; a root in memory that contains the
readable folders, read-only, and /box; no /proc, no device, an empty environment; limits on CPU time, memory, file size and open
files; no capability, no new privileges; and a filter of system calls that allows no new process and no socket.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from typing import Any

NO_ISOLATION = 77
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_PDEATHSIG, _SECCOMP, _CAPBSET_DROP, _SECUREBITS, _NO_NEW_PRIVS = 1, 22, 24, 28, 38
_NOROOT_LOCKED = 0x3F

# By architecture: AUDIT_ARCH, the numbers of pivot_root, clone and clone3, and of the calls that are refused.
_CALLS: dict[str, tuple[int, int, int, int, tuple[int, ...]]] = {
    "x86_64": (
        0xC000003E, 155, 56, 435,
        (57, 58, 41, 42, 43, 49, 50, 53, 288, 101, 165, 166, 272, 308, 250, 248, 249, 321, 298, 323, 425, 426, 427, 246, 320, 175,
         313, 161, 155, 304, 303, 310, 311, 62, 200, 234, 424, 438),
    ),
    "aarch64": (
        0xC00000B7, 41, 220, 435,
        (198, 199, 200, 201, 202, 203, 242, 117, 40, 39, 97, 268, 219, 217, 218, 280, 241, 282, 425, 426, 427, 104, 294, 105, 273,
         51, 41, 265, 264, 270, 271, 129, 130, 131, 424, 438),
    ),
}  # fmt: skip


def _require_zero(result: int, call: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    arguments = [None if a is None else os.fsencode(a) for a in (source, target, kind)]
    _require_zero(_LIBC.mount(*arguments, ctypes.c_ulong(flags), None if options is None else options.encode()), "mount")


def _unshare() -> None:
    """Enter new namespaces, in which this user is root over nothing but them."""
    user, group = os.getuid(), os.getgid()
    _require_zero(_LIBC.unshare(_NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _read_only(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    _mount(source, target, None, _BIND | _REC)
    # A remount must keep the restrictions of the original mount, else the kernel refuses it.
    flags = os.statvfs(source).f_flag & (_NOSUID | _NODEV | 8 | 1024 | 2048 | 4096)
    _mount(None, target, None, _BIND | _REMOUNT | _RDONLY | _NOSUID | (flags & (_NOSUID | _NODEV | 8)) | _times(flags))


def _times(flags: int) -> int:
    """The mount flags for noatime, nodiratime and relatime: statvfs uses other bits for them."""
    return (1024 if flags & 1024 else 0) | (2048 if flags & 2048 else 0) | ((1 << 21) if flags & 4096 else 0)


def _new_root(settings: dict[str, Any]) -> None:
    _mount("none", "/", None, _REC | _PRIVATE)
    root = settings["root"]
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, f"size={settings['disk']},nr_inodes=4096,mode=755")
    for folder in settings["readable"]:
        if os.path.islink(folder):
            os.makedirs(os.path.dirname(root + folder), exist_ok=True)
            os.symlink(os.readlink(folder), root + folder)
        elif os.path.isdir(folder):
            _read_only(folder, root + folder)
    os.makedirs(f"{root}/box")
    os.makedirs(f"{root}/.before")
    pivot_root = _CALLS[platform.machine()][1]
    _require_zero(_LIBC.syscall(pivot_root, os.fsencode(root), os.fsencode(f"{root}/.before")), "pivot_root")
    os.chdir("/box")
    _require_zero(_LIBC.umount2(b"/.before", 2), "umount2")
    os.rmdir("/.before")


def _limit(settings: dict[str, Any]) -> None:
    limits = {
        resource.RLIMIT_CPU: settings["cpu_s"],
        resource.RLIMIT_AS: settings["memory"],
        resource.RLIMIT_FSIZE: settings["disk"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 64,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _drop_capabilities() -> None:
    for capability in range(64):
        _LIBC.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    _require_zero(_LIBC.prctl(_SECUREBITS, _NOROOT_LOCKED, 0, 0, 0), "securebits")
    _require_zero(_LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def _install_seccomp() -> None:
    """Filter system calls: kill on another architecture; refuse calls that make processes, sockets or mounts, or reach other
    processes.
    """
    arch, _, clone, clone3, refused = _CALLS[platform.machine()]
    load, equal, any_set, answer = 0x20, 0x15, 0x45, 0x06
    allow, kill, no = 0x7FFF0000, 0x80000000, 0x00050000
    program = [(load, 0, 0, 4), (equal, 1, 0, arch), (answer, 0, 0, kill), (load, 0, 0, 0)]
    program += [(0x35, 0, 1, 0x40000000), (answer, 0, 0, kill)]  # the x32 calls of x86_64
    program += [(equal, 0, 1, clone3), (answer, 0, 0, no | 38)]  # ENOSYS: the C library falls back to clone
    for call in refused:
        program += [(equal, 0, 1, call), (answer, 0, 0, no | 1)]
    # clone may create a thread, but not a process.
    program += [(equal, 0, 3, clone), (load, 0, 0, 16), (any_set, 1, 0, 0x10000), (answer, 0, 0, no | 1), (answer, 0, 0, allow)]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code)
    program_header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    _require_zero(_LIBC.prctl(_SECCOMP, 2, ctypes.create_string_buffer(program_header), 0, 0), "seccomp")


def main() -> None:
    settings = json.loads(sys.argv[1])
    null = os.open("/dev/null", os.O_RDWR)
    try:
        _unshare()
        child = os.fork()
        if child:
            os.close(0)
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        _LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _new_root(settings)
        os.dup2(null, 2)
        _limit(settings)
        _drop_capabilities()
        _install_seccomp()
    except (OSError, KeyError) as error:
        os.write(1, f"{type(error).__name__}: {error}".encode())
        os._exit(NO_ISOLATION)
    os.closerange(3, 64)
    os.execve(settings["python"], [settings["python"], "-I", "-S", "-B", "-c", settings["harness"]], {})


if __name__ == "__main__":
    main()
