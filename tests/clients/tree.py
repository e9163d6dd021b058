#!/usr/bin/env python3
"""Prints what a root file system holds, one line per entry, so that two of them can be compared with diff.

    tree.py DIRECTORY          a mounted or unpacked image
    tree.py -                  a tar on standard input (docker export, crane export)

A line is: kind, mode, owner, path, and the sha256 of a file or the target of a symbolic link. Left out is what an
engine puts into every container by itself, and directories (engines create missing parents with modes of their own).
Hard links count as the files they are.
"""

import hashlib
import os
import stat
import sys
import tarfile

# Made or covered by the engine, not part of the image.
ENGINE_DIRS = ("dev/", "proc/", "sys/", "run/")
ENGINE_FILES = {".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"}


def of_engine(path):
    """Whether an engine, not the image, decides what is at this path."""
    return path in ENGINE_FILES or path.startswith(ENGINE_DIRS)


def sha256(stream):
    """The digest of what a stream holds."""
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def line(kind, mode, uid, gid, path, content):
    """One entry as printed."""
    return f"{kind} {mode & 0o7777:04o} {uid}:{gid} {path} {content}"


def from_directory(root):
    """The entries below a directory."""
    for parent, directories, files in os.walk(root):
        for name in files + [d for d in directories if os.path.islink(os.path.join(parent, d))]:
            full = os.path.join(parent, name)
            path = os.path.relpath(full, root)
            if of_engine(path):
                continue
            info = os.lstat(full)
            if stat.S_ISLNK(info.st_mode):
                yield line("l", 0o777, info.st_uid, info.st_gid, path, os.readlink(full))
            elif stat.S_ISREG(info.st_mode):
                with open(full, "rb") as stream:
                    yield line("f", info.st_mode, info.st_uid, info.st_gid, path, sha256(stream))


def from_tar(stream):
    """The entries of a tar. A hard link refers to a member that came before it."""
    digests = {}
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            path = os.path.normpath(member.name).lstrip("/")
            if member.isfile():
                digests[path] = (member.mode, member.uid, member.gid, sha256(tar.extractfile(member)))
            elif member.islnk():
                digests[path] = digests[os.path.normpath(member.linkname).lstrip("/")]
            if of_engine(path):
                continue
            if member.issym():
                yield line("l", 0o777, member.uid, member.gid, path, member.linkname)
            elif path in digests:
                mode, uid, gid, digest = digests[path]
                yield line("f", mode, uid, gid, path, digest)


def main():
    """Prints the sorted entries; an empty tree is an error, because two of them would compare equal."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    entries = from_tar(sys.stdin.buffer) if sys.argv[1] == "-" else from_directory(sys.argv[1])
    lines = sorted(entries)
    if not lines:
        sys.exit("tree.py: nothing there")
    sys.stdout.buffer.write("\n".join(lines).encode(errors="surrogateescape") + b"\n")


if __name__ == "__main__":
    main()
