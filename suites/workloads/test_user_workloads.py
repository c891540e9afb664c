"""A user's own modules (--workloads DIR), each judged by its sidecar."""

from conformance import Feature, needs, requirement


@requirement("PROJECT-USER-WORKLOAD")
@needs(Feature.WASM)
def test_a_module_does_what_its_sidecar_says(path, user_workload):
    result = path.run_user_workload(user_workload)

    path.observe(evidence="exit-code-only" if user_workload.rests_on_exit_code else "output")
    assert result.proven
    assert result.exit_code == user_workload.exit_code
    assert user_workload.stdout in (None, result.stdout.decode("utf-8", "surrogateescape"))
    assert user_workload.stderr in (None, result.stderr.decode("utf-8", "surrogateescape"))
