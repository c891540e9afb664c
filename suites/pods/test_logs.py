"""The log files that a kubelet reads, byte by byte."""

from datetime import datetime

from conformance import Feature, needs, requirement
from conformance.build.patterns import stream
from conformance.cri import streams

#: What a runtime may keep of a line before it splits it; both runtimes' default.
LINE_BYTES = 16384


@requirement("CRI-LOG-FORMAT")
@needs(Feature.PODS)
def test_each_log_line_has_a_time_a_stream_and_a_tag(path):
    container = path.pod().start(path.spec("arguments", ["one", "two"]))
    result = path.finish(container)

    lines = container.log()
    assert result.proven
    assert len(lines) == 2
    assert [(line.stream, line.tags) for line in lines] == [("stdout", "F"), ("stdout", "F")]
    assert lines[0].text.startswith(b"@guest ")
    times = [datetime.fromisoformat(line.time).timestamp() for line in lines]
    assert times == sorted(times)
    assert abs(times[0] - path.node_seconds()) < 60


@requirement("CRI-LOG-STREAMS")
@needs(Feature.PODS)
def test_standard_error_is_logged_apart(path):
    container = path.pod().start(path.spec("streams"))
    result = path.finish(container, timeout_seconds=30)

    out, err = streams(container.log())
    assert result.proven
    assert out.partition(b"\n")[2] == stream("out")
    assert err == stream("err")


@requirement("CRI-LOG-LONG-LINE")
@needs(Feature.PODS)
def test_a_long_line_is_split_and_can_be_put_together_again(path):
    long = "x" * (3 * LINE_BYTES)
    container = path.pod().start(path.spec("arguments", [long]))
    result = path.finish(container)

    lines = container.log()
    tags = [line.tags for line in lines]
    whole = b"".join(line.text for line in lines[1:])
    assert result.proven
    assert tags[-1] == "F"
    assert tags.count("P") >= 3
    assert max(len(line.text) for line in lines) <= LINE_BYTES
    assert long.encode() in whole
    assert result.report["args"][1] == long


@requirement("CRI-LOG-LAST-LINE")
@needs(Feature.PODS)
def test_a_last_line_without_line_end_is_kept(path):
    container = path.pod().start(path.spec("bytes"))
    result = path.finish(container)

    lines = container.log()
    whole = lines and lines[-1].text == b"unterminated"
    path.observe(tag="+".join(line.tags for line in (lines[-1:] if whole else lines[-2:])))
    assert result.proven
    assert b"unterminated" in [line.text for line in lines[-2:]]


@requirement("CRI-LOG-REOPEN")
@needs(Feature.PODS)
def test_after_rotation_the_log_goes_on_in_a_new_file(path):
    container = path.pod().start(path.spec("stdin-echo", hold_stdin=True))
    assert container.wait_until_output()
    path.node.run(["mv", container.log_file, f"{container.log_file}.1"])

    reopened = container.reopen_log()
    container.attach(b"after the rotation\n")

    result = path.finish(container, timeout_seconds=4)
    assert reopened.ok
    assert b"after the rotation" in container.raw_log()
    assert b"@guest" not in container.raw_log()
    assert b"@guest" in path.node.read_text(f"{container.log_file}.1").encode()
    assert result.timed_out is False
    assert result.guest_started is False
