"""What a spec becomes in the words of the CRI API, and what a log file tells."""

from __future__ import annotations

from conformance import cri
from conformance.model import ContainerSpec, Limits, Mount

#: From the CRI logging design: a long line in parts, another stream between them.
LOG = (
    b"2016-10-06T00:17:09.669794202Z stdout P log content \n"
    b"2016-10-06T00:17:09.669794203Z stderr F other\n"
    b"2016-10-06T00:17:10.113242941Z stdout F in two parts\n"
    b"2016-10-06T00:17:10.113242942Z stdout F \n"
)


def spec(**more: object) -> ContainerSpec:
    fields = {"id": "c1", "module": "m", "rootfs": "/r", "args": ("/m.wasm", "a b", "")}
    return ContainerSpec(**{**fields, **more})  # type: ignore[arg-type]


def test_partial_lines_are_put_together_and_streams_kept_apart() -> None:
    assert cri.streams(cri.log_lines(LOG)) == (b"log content in two parts\n\n", b"other\n")


def test_a_line_of_a_log_keeps_every_byte_of_its_text() -> None:
    (line,) = cri.log_lines(b"2016-10-06T00:17:09.669794202Z stdout P:x \xff  two \r\n")
    assert (line.text, line.tags, line.partial) == (b"\xff  two \r", "P:x", True)


def test_a_line_in_another_form_is_told_apart_and_shown_with_the_errors() -> None:
    lines = cri.log_lines(b"no log line\n")
    assert lines[0].stream == "?"
    assert cri.streams(lines) == (b"", b"no log line\n")


def test_an_empty_log_has_no_lines() -> None:
    assert cri.log_lines(b"") == []


def test_the_whole_argument_vector_is_command_and_arguments() -> None:
    config = cri.container_config(spec(), "image:1")
    assert config["command"] + config["args"] == ["/m.wasm", "a b", ""]


def test_words_for_an_image_of_a_check_leave_the_rest_to_the_image() -> None:
    config = cri.container_config(spec(image="image:1"), "image:1")
    assert (config["command"], config["args"]) == ([], ["/m.wasm", "a b", ""])
    assert "working_dir" not in config
    assert not {"run_as_user", "run_as_group"} & set(config["linux"]["security_context"])


def test_a_value_of_a_variable_may_hold_an_equals_sign() -> None:
    assert cri.container_config(spec(env=("A=b=c", "E=")), "i")["envs"] == [
        {"key": "A", "value": "b=c"},
        {"key": "E", "value": ""},
    ]


def test_standard_input_is_only_asked_for_by_who_gives_some() -> None:
    silent, fed, held = (cri.container_config(one, "i") for one in (spec(), spec(stdin=b"x"), spec(hold_stdin=True)))
    assert [one["stdin"] for one in (silent, fed, held)] == [False, True, True]


def test_limits_and_mounts_are_in_the_words_of_the_api() -> None:
    limits = Limits(memory_bytes=1 << 20, cpu_quota_us=5000)
    config = cri.container_config(spec(limits=limits, mounts=(Mount("/a", "/b", read_only=True),)), "i")
    assert config["linux"]["resources"] == {
        "memory_limit_in_bytes": 1 << 20,
        "memory_swap_limit_in_bytes": 1 << 20,
        "cpu_quota": 5000,
        "cpu_period": 100_000,
    }
    assert config["mounts"] == [{"container_path": "/b", "host_path": "/a", "readonly": True}]


def test_annotations_that_ask_for_wasm_are_the_pods_and_not_the_containers() -> None:
    asked = {"run.oci.handler": "wasm"}
    pod = cri.pod_config("p", annotations=asked, cgroup_parent="/c", log_directory="/l")
    assert pod["annotations"] == asked
    assert "annotations" not in cri.container_config(spec(annotations=asked), "i")
