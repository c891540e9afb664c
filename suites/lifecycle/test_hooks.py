"""The six hooks of the runtime specification."""

from conformance import Feature, Mount, needs, requirement
from conformance.hooks import INSIDE, ORDER, recording, states_in


def saying(log, text):
    """A hook that takes its input and adds a line to ``LOG/order``."""
    return [{"path": "/bin/sh", "args": ["sh", "-c", 'cat > /dev/null; echo "$1" >> "$0/order"', log, text]}]


@requirement("OCI-HOOKS-ORDER")
@needs(Feature.HOOKS)
def test_all_six_hooks_run_from_create_to_delete(path):
    log = path.directory()

    mounts = [Mount(log, "/log"), path.native_program("files")]
    result = path.live("exit-return-0", hooks=recording(log), mounts=mounts)

    ran = path.lines_of(f"{log}/order")
    path.observe(missing=sorted(set(ORDER) - set(ran)))
    assert result.proven
    assert sorted(ran) == sorted(ORDER)
    assert ran[:3] == ["prestart", "createRuntime", "createContainer"]
    assert ran[-1] == "poststop"


@requirement("OCI-HOOKS-ORDER")
@needs(Feature.HOOKS)
def test_hooks_of_one_kind_run_in_the_listed_order(path):
    log = path.directory()
    twice = {name: saying(log, f"{name} 1") + saying(log, f"{name} 2") for name in ORDER if name != INSIDE}

    result = path.live("exit-return-0", hooks=twice)

    ran = path.lines_of(f"{log}/order")
    assert result.proven
    assert {name: [line for line in ran if line.startswith(f"{name} ")] for name in twice} == {
        name: [f"{name} 1", f"{name} 2"] for name in twice
    }


@requirement("OCI-HOOKS-POSTSTART")
@needs(Feature.HOOKS)
def test_poststart_waits_for_startcontainer(path):
    log = path.directory()

    result = path.live(
        "exit-return-0",
        hooks=recording(log, slow_inside=True),
        mounts=[Mount(log, "/log"), path.native_program("files"), path.native_program("sleep")],
    )

    ran = path.lines_of(f"{log}/order")
    path.observe(order=ran[3:5], state=states_in(path.node, log)["poststart"].get("status"))
    assert result.proven
    assert ran[3:5] == ["startContainer", "poststart"]
    assert states_in(path.node, log)["poststart"]["status"] == "running"


@requirement("OCI-HOOKS-STATE")
@needs(Feature.HOOKS)
def test_each_hook_gets_the_container_s_state(path):
    log = path.directory()

    mounts = [Mount(log, "/log"), path.native_program("files")]
    result = path.live("exit-return-0", hooks=recording(log), mounts=mounts)

    states = states_in(path.node, log)
    assert result.proven
    assert {name: state.get("id") for name, state in states.items()} == dict.fromkeys(states, result.container_id)
    assert states["createRuntime"]["status"] in ("creating", "created")
    assert states["createRuntime"]["pid"] > 0
    assert states["poststop"]["status"] == "stopped"


@requirement("OCI-HOOKS-FAIL")
@needs(Feature.HOOKS)
def test_a_createruntime_hook_that_fails_stops_the_container(path):
    failing = {"createRuntime": [{"path": "/bin/false"}]}

    result = path.run("exit-return-0", hooks=failing)

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)
    assert result.leftovers == ()
