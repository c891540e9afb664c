"""What each language's standard library needs from its surroundings."""

from conformance import requirement


@requirement("WASI-CLOCK-RANDOM")
def test_clocks_run_and_randomness_differs(path):
    result = path.run("clock-random")

    assert result.proven
    assert result.report["monotonic_ns"][1] - result.report["monotonic_ns"][0] >= 15_000_000
    assert abs(result.report["realtime_seconds"] - path.node_seconds()) < 60
    assert len(set(result.report["random"])) == 2


@requirement("LANG-RUST")
def test_a_rust_guest_finds_arguments_environment_input_and_files(path):
    stdin = b"x" * 1000
    result = path.run("rust-behaviour", args=["two words"], env=["KEY=value"], stdin=stdin, timeout_seconds=10)

    path.observe(variable="KEY=value" in result.report["env"], greeting=result.report.get("greeting"))
    assert result.proven
    assert result.exit_code == 0
    assert result.report["args"][1] == "two words"
    assert "KEY=value" in result.report["env"]
    assert result.report["stdin_bytes"] == 1000
    assert result.report["greeting"] == "hello from the root file system\n"


@requirement("LANG-GO")
def test_a_go_guest_finds_arguments_environment_input_and_files(path):
    stdin = b"x" * 1000
    result = path.run("go-behaviour", args=["two words"], env=["KEY=value"], stdin=stdin, timeout_seconds=10)

    path.observe(greeting=result.report.get("greeting"), error=result.report.get("error"))
    assert result.proven
    assert result.exit_code == 0
    assert result.report["args"][1] == "two words"
    assert "KEY=value" in result.report["env"]
    assert result.report["stdin_bytes"] == 1000
    assert result.report["greeting"] == "hello from the root file system\n"
