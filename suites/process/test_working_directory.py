"""process.cwd."""

from conformance import Mount, requirement


@requirement("OCI-PROCESS-CWD")
def test_a_relative_path_of_the_guest_starts_at_cwd(path):
    result = path.run("working-directory", cwd="/work")

    path.observe(cwd=result.report.get("cwd"), errno=result.report.get("errno"))
    assert result.proven
    assert result.report["relative"] == "here\n"


@requirement("OCI-PROCESS-CWD-MODULE")
def test_an_absolute_module_runs_with_another_cwd(path):
    result = path.run("exit-return-0", cwd="/work")

    assert result.proven
    assert result.exit_code == 0


@requirement("OCI-PROCESS-ARGS-RELATIVE")
def test_a_relative_module_path_starts_at_cwd(path):
    # the root once more, at a place that leads nowhere from /
    again = Mount(path.spec("exit-return-0").rootfs, "/work/again", read_only=True)

    result = path.run("exit-return-0", argv0=f"again{path.module('exit-return-0')}", cwd="/work", mounts=[again])

    assert result.proven
    assert result.exit_code == 0
