"""Where hooks run, and what it means when one of them fails."""

from conformance import Feature, needs, requirement
from conformance.hooks import ENDS_SECONDS, outliving_the_guest

#: Takes its input first: a runtime may write the state into a pipe that nobody reads any more.
FAILING = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; exit 1"]}
ON_THE_NODE = ["prestart", "createRuntime", "poststart", "poststop"]


def saying_where(log, name):
    """A hook that writes the mount namespace it runs in to a file of its name."""
    program = 'cat > /dev/null; readlink /proc/self/ns/mnt > "$0/$1"'
    return [{"path": "/bin/sh", "args": ["sh", "-c", program, log, name]}]


@requirement("OCI-HOOKS-NAMESPACE")
@needs(Feature.HOOKS)
def test_hooks_run_in_the_namespace_that_is_theirs(path):
    log = path.directory()
    names = [*ON_THE_NODE, "createContainer"]

    hooks = {name: saying_where(log, name) for name in names}
    result = path.live("exit-return-0", hooks=hooks)

    node = [path.node.snapshot(path.node.agent_pid).namespaces["mnt"]]
    places = {name: path.lines_of(f"{log}/{name}") for name in names}
    elsewhere = [name for name in ON_THE_NODE if places[name] != node]
    path.observe(elsewhere=elsewhere, inside=places["createContainer"] not in (node, []))
    assert result.proven
    assert elsewhere == []
    assert places["createContainer"] not in (node, [])


@requirement("OCI-HOOKS-FAIL-EARLY")
@needs(Feature.HOOKS)
def test_a_hook_that_fails_before_the_guest_keeps_it_from_starting(path):
    failing = {"prestart": FAILING, "createContainer": FAILING, "startContainer": {"path": "/native-exit-42"}}
    inside = [path.native_program("exit-42")]

    results = {name: path.run("exit-return-0", hooks={name: [hook]}, mounts=inside) for name, hook in failing.items()}

    path.observe(went_on=[name for name, result in results.items() if result.guest_started])
    assert [name for name, result in results.items() if result.guest_started] == []
    assert [name for name, result in results.items() if result.exit_code in (0, None)] == []
    assert [name for name, result in results.items() if result.leftovers] == []


@requirement("OCI-HOOKS-FAIL-LATE")
@needs(Feature.HOOKS)
def test_a_poststart_or_poststop_hook_that_fails_changes_nothing(path):
    late = {name: {name: [FAILING]} for name in ("poststart", "poststop")}

    results = {name: path.run("exit-return-0", hooks=hooks) for name, hooks in late.items()}

    failed = [name for name, result in results.items() if result.exit_code != 0]
    path.observe(failed=failed)
    assert [name for name, result in results.items() if not result.proven] == []
    assert failed == []
    assert [name for name, result in results.items() if result.leftovers] == []


@requirement("OCI-CREATE-HOOKS")
@needs(Feature.LIFECYCLE, Feature.HOOKS)
def test_hooks_of_create_have_run_before_start(path):
    log = path.directory()
    names = ["prestart", "createRuntime", "createContainer"]
    hooks = {name: saying_where(log, name) for name in [*names, "poststart"]}
    container = path.create("exit-return-0", hooks=hooks)
    assert container.created.ok

    ran = [name for name in [*names, "poststart"] if path.lines_of(f"{log}/{name}")]
    container.start()

    assert path.finish(container).proven
    path.observe(before_start=ran)
    assert set(names) <= set(ran)


@requirement("OCI-FEATURES-HOOKS")
@needs(Feature.LIFECYCLE, Feature.HOOKS)
def test_the_hooks_that_features_names_run(path):
    log = path.directory()
    named = path.features()["hooks"]
    asked = {name: saying_where(log, name) for name in named if name != "startContainer"}

    result = path.live("exit-return-0", hooks=asked)

    assert result.proven
    assert len(asked) > 0
    assert [name for name in asked if not path.lines_of(f"{log}/{name}")] == []


@requirement("CLI-RUN-ENDS")
@needs(Feature.HOOKS, Feature.LIFECYCLE)
def test_run_ends_although_a_hook_outlives_the_guest(path):
    result = path.run("exit-return-0", hooks=outliving_the_guest("poststart"), timeout_seconds=ENDS_SECONDS)

    assert result.proven
    assert not result.timed_out
