from __future__ import annotations

from pathlib import Path

import pytest

from qnb.store.mounts import network_filesystem

TABLE = """\
/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
filer:/home /home nfs4 rw 0 0
/dev/sdb1 /home/ada/scratch xfs rw 0 0
//srv/share /mnt/My\\040Share cifs rw 0 0
systemd-1 /net autofs rw 0 0
filer:/old /data nfs rw 0 0
/dev/sdc1 /data btrfs rw 0 0
user@host:/ /home/ada/remote fuse.sshfs rw 0 0
portal /home/ada/portal fuse.portal rw 0 0
hostshare /mnt/host 9p rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/qnb", None),
        ("/home/ada/.local/share/qnb", "nfs4"),
        ("/home/ada/scratch/qnb", None),
        ("/home/ada/scratchy/qnb", "nfs4"),
        ("/mnt/My Share/qnb", "cifs"),
        ("/net/qnb", None),
        ("/data/qnb", None),
        ("/home/ada/remote/qnb", "fuse.sshfs"),
        ("/home/ada/portal/qnb", None),
        ("/mnt/host/qnb", "9p"),
    ],
)
def test_longest_mount_decides_what_a_path_lies_on(path: str, kind: str | None) -> None:
    """Longest prefix by component, the later of two on one point, spaces unescaped."""
    assert network_filesystem(Path(path), TABLE) == kind


@pytest.mark.parametrize(
    "kind", ["nfs", "smb3", "lustre", "ceph", "fuse.ceph-fuse", "afs", "glusterfs", "fuse.glusterfs", "gpfs"]
)
def test_network_types_are_known(kind: str) -> None:
    """The file systems that clusters and hubs put homes on."""
    assert network_filesystem(Path("/x"), f"server /x {kind} rw 0 0\n") == kind


def test_link_to_a_network_file_system_is_followed(tmp_path: Path) -> None:
    """What counts is where the path leads."""
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    table = f"server {tmp_path / 'far'} nfs rw 0 0\n"
    assert network_filesystem(tmp_path / "near" / "qnb", table) == "nfs"


def test_system_table_is_read(tmp_path: Path) -> None:
    """Without a table the system's own counts; an empty one says nothing."""
    assert network_filesystem(tmp_path, "") is None
    assert network_filesystem(tmp_path) in {None, "nfs", "nfs4", "9p"}
