"""The root file system and mounts as the guest sees them."""

from conformance import Feature, Mount, needs, requirement


@requirement("OCI-ROOT")
def test_a_file_of_the_root_can_be_read(path):
    result = path.run("files", args=["read:/data/greeting.txt"])

    assert result.proven
    assert result.reports[0]["text"] == "hello from the root file system\n"


@requirement("OCI-ROOT-READONLY")
def test_a_read_only_root_refuses_writes(path):
    result = path.run(
        "files",
        args=["write:/data/new.txt:x", "append:/data/greeting.txt:x", "mkdir:/data/new", "unlink:/data/greeting.txt"],
    )

    assert result.proven
    assert [r["errno"] for r in result.reports] == ["EROFS"] * 4


@requirement("OCI-MOUNT-BIND")
def test_a_bind_mount_can_be_read_and_written(path):
    shared = path.directory({"from-node.txt": "written on the node"})

    result = path.run(
        "files",
        mounts=[Mount(shared, "/mnt")],
        args=["read:/mnt/from-node.txt", "write:/mnt/from-guest.txt:written by the guest"],
    )

    assert result.proven
    assert result.reports[0]["text"] == "written on the node"
    assert path.node.read_text(f"{shared}/from-guest.txt") == "written by the guest"


@requirement("OCI-MOUNT-READONLY")
def test_a_read_only_bind_mount_refuses_writes(path):
    shared = path.directory({"from-node.txt": "written on the node"})

    result = path.run(
        "files",
        mounts=[Mount(shared, "/mnt", read_only=True)],
        args=["read:/mnt/from-node.txt", "write:/mnt/new.txt:x", "append:/mnt/from-node.txt:x"],
    )

    path.observe(files=path.files_in(shared))
    assert result.proven
    assert result.reports[0]["text"] == "written on the node"
    assert [r["errno"] for r in result.reports[1:]] == ["EROFS", "EROFS"]
    assert path.files_in(shared) == ["from-node.txt"]


@requirement("OCI-MOUNT-TMPFS")
@needs(Feature.OCI_CONFIG)
def test_a_tmpfs_mount_takes_files_up_to_its_size(path):
    small = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]}

    result = path.run(
        "files", extra_mounts=[small], args=["write:/mnt/small.txt:fits", "read:/mnt/small.txt", "fill:/mnt/large.bin"]
    )

    assert result.proven
    assert result.reports[1]["text"] == "fits"
    assert result.reports[2]["errno"] == "ENOSPC"
    assert result.reports[2]["bytes"] <= 1 << 20


@requirement("OCI-MOUNT-ORDER")
@needs(Feature.OCI_CONFIG)
def test_mounts_are_made_in_the_listed_order(path):
    first, second = path.directory({"which.txt": "first"}), path.directory({"which.txt": "second"})

    result = path.run("files", mounts=[Mount(first, "/mnt"), Mount(second, "/mnt")], args=["read:/mnt/which.txt"])

    assert result.proven
    assert result.reports[0]["text"] == "second"


@requirement("OCI-MASKED-PATHS")
@needs(Feature.OCI_CONFIG)
def test_masked_paths_cannot_be_read(path):
    result = path.run(
        "files",
        oci={"linux": {"maskedPaths": ["/data/greeting.txt", "/work"]}},
        args=["read:/data/greeting.txt", "list:/work"],
    )

    assert result.proven
    assert result.reports[0].get("text", "") == ""
    assert result.reports[1].get("entries", []) == []


@requirement("OCI-READONLY-PATHS")
@needs(Feature.OCI_CONFIG)
def test_readonly_paths_refuse_writes(path):
    shared = path.directory({"kept.txt": "kept"})

    result = path.run(
        "files",
        mounts=[Mount(shared, "/mnt")],
        oci={"linux": {"readonlyPaths": ["/mnt"]}},
        args=["write:/mnt/kept.txt:changed", "read:/mnt/kept.txt"],
    )

    path.observe(text=result.reports[1]["text"])
    assert result.proven
    assert result.reports[0]["errno"] == "EROFS"
    assert result.reports[1]["text"] == "kept"


@requirement("OCI-DEFAULT-DEVICES")
def test_the_default_devices_are_there(path):
    result = path.run("files", args=["read:/dev/null", "stat:/dev/zero", "stat:/dev/urandom", "write:/dev/null:gone"])

    assert result.proven
    assert [r["ok"] for r in result.reports] == [True] * 4
    assert [r["kind"] for r in result.reports[1:3]] == ["character-device"] * 2


@requirement("OCI-DEVICES")
@needs(Feature.OCI_CONFIG)
def test_a_listed_device_is_there(path):
    device = {"path": "/dev/conformance", "type": "c", "major": 1, "minor": 5}

    result = path.run("files", args=["stat:/dev/conformance"], oci={"linux": {"devices": [device]}})

    assert result.proven
    assert result.reports[0]["kind"] == "character-device"
