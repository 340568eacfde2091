"""On what kind of file system a path lies.

Enters: a path and the system's mount table. Leaves: the type of a network file system, or None. Never: a guess where
there is no mount table.
Why: SQLite's write-ahead log keeps its index in memory that all its users share, which machines do not; on a network
file system two kernels on two machines would tear it. Source: https://www.sqlite.org/wal.html, "Disadvantages", 2.
"""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/mounts")
# `nfs` also stands for nfs4, `smb` for smb2, smb3 and smbfs; FUSE types without their prefix
_NETWORK = re.compile(
    r"(?:nfs|smb|cifs|ncpfs|9p|afs|ceph|lustre|gpfs|gfs2|ocfs2|glusterfs|beegfs|fhgfs|panfs|wekafs|quobyte|orangefs|pvfs2|"
    r"coda|vboxsf|prl_fs|vmhgfs|sshfs|davfs|s3fs|goofys|gcsfuse|mountpoint-s3|rclone|juicefs|seaweedfs|moosefs|mfs|"
    r"blobfuse|grpcfuse|osxfs|curlftpfs)"
)
_ESCAPE = re.compile(r"\\([0-7]{3})")


def network_filesystem(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that a path lies on, None if it lies on a local one or that is not known.

    Args:
        path: need not exist; its nearest ancestor that does counts.
        mounts: the mount table as in `/proc/mounts`; None: the system's own.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
        except OSError:
            return None
    real = path.resolve()
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3 or fields[2] == "autofs":  # an autofs entry is the trigger, not what is mounted there
            continue
        point = Path(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[1]))
        # the longest prefix holds the path; of two mounts on one point, the later one hides the earlier
        if real.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = (len(point.parts), fields[2])
    if found is None:
        return None
    kind = found[1]
    return kind if _NETWORK.match(kind.removeprefix("fuse.").removeprefix("fuseblk.")) else None
