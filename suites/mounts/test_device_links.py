"""Links in /dev that programs expect."""

from conformance import requirement

LINKS = {
    "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
}  # fmt: skip


@requirement("OCI-DEVICE-LINKS")
def test_the_links_to_standard_streams_are_in_dev(path):
    result = path.run("files", args=[f"readlink:{name}" for name in LINKS])

    assert result.proven
    assert {r["path"]: r.get("text") for r in result.reports} == LINKS
