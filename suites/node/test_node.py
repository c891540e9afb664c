"""The machine itself, before any container: what a verdict silently relies on."""

from conformance import requirement


@requirement("NODE-RUNTIME-FILE")
def test_only_root_can_change_the_runtime_s_program(path):
    program = path.host.file(path.program)

    assert program.is_file
    assert program.user == "root"
    assert program.mode & 0o022 == 0


@requirement("NODE-NO-BINFMT")
def test_the_kernel_hands_no_module_to_an_interpreter(path):
    registered = path.host.run("grep -l 0061736d /proc/sys/fs/binfmt_misc/* 2>/dev/null")

    assert registered.stdout == ""


@requirement("NODE-CGROUPS")
def test_cgroups_are_mounted_where_a_runtime_looks_for_them(path):
    place = path.host.mount_point("/sys/fs/cgroup")

    assert place.exists
    assert place.filesystem in ("cgroup2", "tmpfs")
