"""What a check asks for, in the words of config.json."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conformance.model import ContainerSpec, Limits, Mount
from conformance.oci_config import configuration, merged

SPEC = ContainerSpec(id="c1", module="a", rootfs="/trees/wasm", args=("/a.wasm", "one two"), env=("A=b c", "E="))


def made(cgroup_v2: bool = False, **changes: Any) -> dict[str, Any]:
    return configuration(
        replace(SPEC, **changes), cgroups_path="/conformance/s/c1", hooks={"createRuntime": []}, cgroup_v2=cgroup_v2
    )


def test_arguments_environment_and_root_are_as_asked() -> None:
    config = made(cwd="/data", uid=7, gid=8, additional_gids=(9, 10), tty=True, annotations={"run.oci.handler": "wasm"})
    process = config["process"]
    assert process["args"] == ["/a.wasm", "one two"]
    assert process["env"] == ["A=b c", "E="]
    assert (process["cwd"], process["terminal"]) == ("/data", True)
    assert process["user"] == {"uid": 7, "gid": 8, "additionalGids": [9, 10]}
    assert config["root"] == {"path": "/trees/wasm", "readonly": True}
    assert config["annotations"] == {"run.oci.handler": "wasm"}
    assert config["hooks"] == {"createRuntime": []}
    assert config["linux"]["cgroupsPath"] == "/conformance/s/c1"


def test_limits_that_nobody_asked_for_are_not_there() -> None:
    assert set(made()["linux"]["resources"]) == {"devices"}


def test_a_memory_limit_leaves_no_swap() -> None:
    resources = made(limits=Limits(memory_bytes=1 << 26, pids=5, cpu_quota_us=50_000))["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 26, "swap": 1 << 26}
    assert resources["pids"] == {"limit": 5}
    assert resources["cpu"] == {"quota": 50_000, "period": 100_000}


def test_a_bind_mount_says_whether_it_can_be_written() -> None:
    binds = [m for m in made(mounts=(Mount("/a", "/x"), Mount("/b", "/y", True)))["mounts"] if m["type"] == "bind"]
    assert [(m["source"], m["destination"], m["options"]) for m in binds] == [
        ("/a", "/x", ["rbind", "rw"]), ("/b", "/y", ["rbind", "ro"]),
    ]  # fmt: skip


def test_a_cgroup_namespace_is_asked_for_where_the_hierarchy_is_v2() -> None:
    def kinds(config: dict[str, Any]) -> set[str]:
        return {n["type"] for n in config["linux"]["namespaces"]}

    assert kinds(made(cgroup_v2=True)) - kinds(made(cgroup_v2=False)) == {"cgroup"}


def test_changes_merge_replace_and_remove() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert merged(base, {"a": {"c": [3]}, "e": 5}) == {"a": {"b": 1, "c": [3]}, "d": 4, "e": 5}
    assert merged(base, {"a": {"b": None}, "d": None}) == {"a": {"c": [1, 2]}}
    assert merged(base, {"a": 1}) == {"a": 1, "d": 4}
    assert merged(base, {"d": {"x": 1}}) == {"a": {"b": 1, "c": [1, 2]}, "d": {"x": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 4}


def test_what_a_check_changes_is_laid_over_last() -> None:
    config = made(oci={"process": {"noNewPrivileges": False, "capabilities": None}, "hostname": "other"})
    assert config["process"]["noNewPrivileges"] is False
    assert "capabilities" not in config["process"]
    assert config["process"]["args"] == ["/a.wasm", "one two"]
    assert config["hostname"] == "other"
