"""What a guest can see of, and do to, its host."""

import re

from conformance import Feature, Mount, needs, requirement

SEPARATE = ["ipc", "mnt", "net", "pid", "uts"]


@requirement("OCI-NAMESPACES")
@needs(Feature.LIFECYCLE)
def test_the_guest_s_process_is_in_namespaces_of_its_own(path):
    container = path.create("hold", hold_stdin=True)
    assert container.start().ok
    assert container.wait_until_output()

    inside, outside = container.snapshot(), path.node.snapshot(path.node.agent_pid)
    container.feed()

    assert path.finish(container).proven
    assert inside
    assert [name for name in SEPARATE if inside.namespaces[name] == outside.namespaces[name]] == []


@requirement("OCI-NETWORK-NAMESPACE")
def test_the_guest_sees_no_network_of_the_node(path):
    result = path.run("files", args=["read:/proc/net/dev", "readlink:/proc/self/ns/net"])

    assert result.proven
    node = path.node.snapshot(path.node.agent_pid).namespaces["net"]
    interfaces = [line.partition(":")[0].strip() for line in result.reports[0]["text"].splitlines()[2:]]
    assert "lo" in interfaces
    assert result.reports[1].get("text", "").startswith("net:")
    assert result.reports[1]["text"] != node
    assert [
        name
        for name in interfaces
        if name != "lo" and name in path.node.run(["ls", "/sys/class/net"]).stdout.decode().split()
    ] == []


@requirement("WASI-SANDBOX-PATHS")
def test_no_path_leads_out_of_the_container(path):
    secret = path.directory({"secret.txt": "SECRET-OF-THE-NODE"})
    shared = path.directory()
    path.node.run(["ln", "-s", f"{secret}/secret.txt", f"{shared}/link"])
    up = "/".join([".."] * 12)

    result = path.run("files", mounts=[Mount(shared, "/mnt")], args=[
        f"read:{secret}/secret.txt", f"read:/{up}{secret}/secret.txt",
        f"read:{up}{secret}/secret.txt", "read:/mnt/link",
        f"read:/proc/1/root{secret}/secret.txt", f"read:/proc/self/root{secret}/secret.txt",
        f"read:/proc/self/cwd/{up}{secret}/secret.txt", f"symlink:/mnt/made:{secret}/secret.txt", "read:/mnt/made",
    ])  # fmt: skip

    assert result.proven
    assert b"SECRET-OF-THE-NODE" not in result.stdout + result.stderr


@requirement("CVE-2019-5736")
def test_the_runtime_s_program_cannot_be_overwritten(path):
    before = path.runtime_digest()

    result = path.run(
        "files",
        args=["write:/proc/self/exe:overwritten", "append:/proc/self/exe:overwritten", "open-write:/proc/1/exe"],
    )

    assert result.proven
    assert [r["ok"] for r in result.reports] == [False, False, False]
    assert path.runtime_digest() == before


@requirement("PARITY-DESCRIPTORS")
def test_a_descriptor_of_the_caller_does_not_reach_the_guest(path):
    leak = 'exec 7</etc/os-release 8>/tmp/leaked && exec "$@"'

    result = path.run("descriptors", wrapped_in=("sh", "-c", leak, "sh"))

    numbers = [d["fd"] for d in result.report["fds"] if "preopen" not in d]
    path.observe(descriptors=numbers)
    assert result.proven
    assert numbers == [0, 1, 2]


@requirement("PARITY-DESCRIPTORS-PROCESS")
@needs(Feature.LIFECYCLE)
def test_the_guest_s_process_holds_nothing_of_the_node(path):
    leak = 'exec 7</etc/os-release && exec "$@"'

    container = path.create("hold", hold_stdin=True, wrapped_in=("sh", "-c", leak, "sh"))
    assert container.start().ok
    assert container.wait_until_output()
    process = container.snapshot()
    container.feed()

    assert path.finish(container).proven
    assert process
    held = {number: target for number, target in process.descriptors.items() if int(number) > 2}
    path.observe(held=sorted(re.sub(r"\[\d+\]", "", target) for target in held.values()))
    assert [target for target in held.values() if target.startswith(("/etc/", "/var/", "/sys/"))] == []


@requirement("PROJECT-SHARED-OBJECT")
@needs(Feature.WASM)
def test_a_shared_object_under_a_wasm_name_runs_no_native_code(path):
    result = path.run("shared-object")

    path.observe(native_code_ran=result.guest_started)
    assert not result.guest_started
    assert result.exit_code not in (0, None)


@requirement("PROJECT-ENGINE-PLUGIN")
@needs(Feature.WASM)
def test_no_engine_plug_in_of_the_container_is_loaded(path):
    plugins = path.directory()
    path.node.run(["cp", f"{path.wasm_root}/shared-object.wasm", f"{plugins}/libwasmedgePluginGuest.so"])

    result = path.run("exit-return-0", mounts=[Mount(plugins, "/plugins")], env=["WASMEDGE_PLUGIN_PATH=/plugins"])

    path.observe(native_code_ran=b"shared-object" in result.stdout + result.stderr)
    assert result.proven
    assert b"shared-object" not in result.stdout + result.stderr
