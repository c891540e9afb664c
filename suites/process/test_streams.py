"""Standard input, output and error."""

from conformance import Feature, needs, requirement
from conformance.build.patterns import fnv1a64, stream


@requirement("PARITY-STDIN")
@needs(Feature.STDIN)
def test_standard_input_arrives_complete_and_ends(path):
    sent = bytes(range(256)) * 1024

    result = path.run("stdin-echo", stdin=sent)

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
