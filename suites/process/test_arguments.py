"""What reaches main(argc, argv)."""

from conformance import requirement


@requirement("OCI-PROCESS-ARGS")
def test_arguments_with_spaces_arrive_whole_and_in_order(path):
    result = path.run("arguments", args=["one two", "", "  padded\t", "quote'\"\\", "line\nbreak", "-x", "*"])

    assert result.proven
    assert result.report["args"][1:] == list(result.asked.args[1:])


@requirement("OCI-PROCESS-ARGV0")
def test_the_first_argument_is_the_program_s_name(path):
    result = path.run("arguments")

    path.observe(first=result.report["args"][0])
    assert result.proven
    assert result.report["args"][0] == result.asked.args[0]
