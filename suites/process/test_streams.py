"""Standard input, output and error."""

from conformance import Feature, needs, requirement
from conformance.build.patterns import HOSTILE, fnv1a64, stream


@requirement("PARITY-STDIN")
@needs(Feature.STDIN)
def test_standard_input_arrives_complete_and_ends(path):
    sent = bytes(range(256)) * 1024

    result = path.run("stdin-echo", stdin=sent, timeout_seconds=10)

    assert result.proven
    assert not result.timed_out
    assert result.report["bytes"] == len(sent)
    assert result.report["fnv1a64"] == fnv1a64(sent)


@requirement("CLI-STREAMS")
def test_stdout_and_stderr_are_apart_and_1_mib_arrives_intact(path):
    result = path.run("streams")

    assert result.proven
    announcement, _, output = result.stdout.partition(b"\n")
    assert announcement.startswith(b"@guest ")
    assert output == stream("out")
    assert result.stderr == stream("err")


@requirement("CLI-STREAMS-BYTES")
def test_bytes_that_are_no_text_arrive_unchanged(path):
    result = path.run("bytes")

    output = result.stdout.partition(b"\n")[2]
    path.observe(changed="CR LF became LF" if output == HOSTILE.replace(b"\r\n", b"\n") else None)
    assert result.proven
    assert output == HOSTILE


@requirement("OCI-PROCESS-TERMINAL")
@needs(Feature.TTY, Feature.LIFECYCLE)
def test_a_terminal_is_handed_over_and_carries_input(path):
    container = path.create("terminal", tty=True, stdin=b"typed\n")
    assert container.created.ok
    assert container.start().ok

    result = path.finish(container)

    path.observe(isatty=result.report["isatty"])
    assert result.proven
    assert result.report["isatty"] == [True, True, True]
    assert result.report["line"].strip() == "typed"


@requirement("OCI-CONSOLE-SIZE-IGNORED")
@needs(Feature.OCI_CONFIG)
def test_a_console_size_without_terminal_is_ignored(path):
    result = path.run("exit-return-0", oci={"process": {"consoleSize": {"height": 31, "width": 97}}})

    assert result.proven
    assert result.exit_code == 0
