"""The checks of pods can fail: with one thing broken in the runtime or in containerd above it, its check is red."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Runner

PATH = "containerd-crun-wasmedge"
PATH_2 = "containerd2-crun-wasmedge"
BOTH = (PATH, "crio-crun-wasmedge")
NATIVE = ("containerd-crun-native", "crio-crun-native")
EMBEDDED = ("embedded-wasmtime-containerd",)
#: Goes on being green with each mutant that does not break everything.
WITNESS = "pods/test_lifecycle.py::test_exit_code_0_is_completed"
#: Before the real crun or runc: $command, the $last word, and $bundle where there is one. config.json can be changed in
#: place; it is in the form that containerd writes, without white space, whoever has written it.
CRUN = """#!/bin/sh
for word; do
    case ${previous-} in --bundle) bundle=$word ;; esac
    case $word in create | start | exec | update | kill | delete) command=${command-$word} ;; esac
    previous=$word
    last=$word
done
[ "${command-}" != create ] || python3 -IS -c "$(cat <<'END'
import json, sys
with open(sys.argv[1], "r+") as file:
    config = json.load(file)
    file.seek(0)
    json.dump(config, file, separators=(",", ":"))
    file.truncate()
END
)" "$bundle/config.json"
change() { [ "${command-}" != create ] || sed -i "$1" "$bundle/config.json"; }
BROKEN
exec REAL "$@"
"""
REAL = {"crun": "/usr/bin/crun", "runc": "/usr/sbin/runc"}
#: The native twin in the image's place, which says that it was compiled for Wasm; the shim is its parent.
NATIVE_TWIN = """[ "${command-}" != create ] || case $(cat "$bundle/config.json") in *exit-return-0.wasm*)
    cp "$(find /var/lib/conformance -path '*/native/exit-return-0' | head -n 1)" "$bundle/rootfs/twin"
    change 's|"args":\\["/usr/bin/wasmtime".*"/exit-return-0.wasm"|"args":["/twin"|'
    mkfifo "$bundle/said"
    sed -u 's/x86_64-linux/wasm32-wasip1/' <"$bundle/said" &
    exec >"$bundle/said"
esac"""
#: The first signal to a guest that waits is lost.
LOSES_A_SIGNAL = """case ${command-} in
    create) ! grep -q pause.wasm "$bundle/config.json" || touch "/tmp/${bundle##*/}" ;;
    kill) for word; do [ ! -e "/tmp/$word" ] || { rm "/tmp/$word"; exit 0; }; done ;;
esac"""
#: In crictl's place on the node, which is all that is seen of a CRI runtime: ANSWER, or what crictl says.
ANSWERS = """tool=/opt/conformance/components/cri-tools/bin/crictl
[ -e "$tool.real" ] || {
    cp "$tool" "$tool.real"
    cat >"$tool.broken" <<'END'
#!/bin/sh
ANSWER
exec "$0.real" "$@"
END
    chmod 755 "$tool.broken"
    mv "$tool.broken" "$tool"
}"""
#: A container whose process is this shell, which starts the native twin and says that all went well.
ALL_WENT_WELL = """[ "${command-}" != create ] || case $(cat "$bundle/config.json") in *'"/exit-42"'*)
    root=$(sed 's/.*"root":{[^}]*"path":"\\([^"]*\\)".*/\\1/' "$bundle/config.json")
    case $root in /*) ;; *) root=$bundle/$root ;; esac
    for file in /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*'); do
        mkdir -p "$root${file%/*}" && cp -L "$file" "$root$file"
    done
    change 's|"args":\\["/exit-42"|"args":["/bin/sh","-c","\\\\"$@\\\\"; exit 0","sh","/exit-42"|'
esac"""
#: Forgets to kill one guest, and no other container.
DEAF = """[ "${command-}" != create ] || ! grep -q '"/spin' "$bundle/config.json" || echo "$last" >/run/deaf
[ "${command-}" != kill ] || [ ! -e /run/deaf ] || case " $* " in *" $(cat /run/deaf) "*) exit 0 ;; esac"""
#: Before the real containerd: $config is its configuration.
CONTAINERD = """#!/bin/sh
config=${2-}
[ "${1-}" = --config ] && {
BROKEN
}
exec /usr/bin/containerd "$@"
"""


@dataclass(frozen=True)
class Broken:
    """One thing that is broken.

    Attributes:
        name: what it does.
        kills: the check that must be red, below ``suites/pods`` where it names no directory.
        crun, runc, containerd: shell lines that break it.
        everything: no guest starts any more, so the witness is red too.
        paths: where.
    """

    name: str
    kills: str
    crun: str = ""
    runc: str = ""
    containerd: str = ""
    everything: bool = False
    paths: tuple[str, ...] = (PATH,)


MUTANTS = [
    Broken("drops-the-annotation", "test_lifecycle.py::test_a_started_container_runs_until_it_is_stopped",
           crun="""change 's/"run.oci.handler":"wasm"/"x":"y"/'""", everything=True, paths=BOTH),
    Broken("allows-no-annotation", "test_lifecycle.py::test_a_created_container_has_not_run",
           containerd="sed -i 's/pod_annotations = .*/pod_annotations = []/' \"$config\"", everything=True),
    Broken("allows-every-annotation",
           "test_mixed_pods.py::test_an_annotation_that_the_handler_does_not_allow_asks_for_nothing",
           containerd="sed -i '/under-test-unannotated]/a pod_annotations = [\"run.oci.*\"]' \"$config\""),
    Broken("runs-the-pause-program-as-a-module",
           "test_sandboxes.py::test_the_pod_s_own_process_is_native_under_compat",
           crun="""change 's/cri.container-type":"sandbox"/cri.container-type":"container"/'""", everything=True),
    Broken("swaps-the-streams", "test_logs.py::test_standard_error_is_logged_apart",
           crun='[ "${command-}" != create ] || exec 3>&1 1>&2 2>&3', paths=BOTH),
    Broken("says-that-all-went-well", "test_lifecycle.py::test_exit_code_42_is_an_error",
           crun=ALL_WENT_WELL, paths=NATIVE),
    Broken("ignores-a-stop", "test_lifecycle.py::test_without_grace_period_a_container_is_killed_at_once",
           crun=DEAF, paths=BOTH),
    Broken("loses-a-variable", "process/test_environment.py::test_the_environment_is_complete",
           crun="""change 's/"PLAIN=value",//'""", paths=BOTH),
    Broken("loses-the-input", "test_streams.py::test_attached_input_reaches_the_guest_and_ends",
           crun='[ "${command-}" != create ] || exec </dev/null', paths=BOTH),
    Broken("logs-lines-of-any-length", "test_logs.py::test_a_long_line_is_split_and_can_be_put_together_again",
           containerd="sed -i 's/restrict_oom_score_adj/max_container_log_line_size = -1\\n&/' \"$config\""),
    Broken("exec-hangs", "test_streams.py::test_exec_gives_a_result_or_an_error_and_never_hangs",
           crun='[ "${command-}" != exec ] || sleep 30'),
    Broken("an-update-does-nothing", "test_resources.py::test_an_update_of_the_memory_limit_is_applied_or_refused",
           crun='[ "${command-}" != update ] || exit 0'),
    Broken("drops-the-memory-limit", "test_resources.py::test_a_memory_limit_is_the_cgroup_s",
           crun="""change 's/"memory":{[^}]*}/"memory":{}/'""", paths=BOTH),
    Broken("drops-the-cpu-quota", "test_resources.py::test_a_cpu_quota_is_the_cgroup_s",
           crun="""change 's/"quota":[0-9]*,//'"""),
    Broken("takes-a-period-of-zero-at-its-word", "test_resources.py::test_a_cpu_period_and_a_quota_of_zero_are_none",
           crun="""[ "${command-}" != create ] || ! grep -q '"period":0' "$bundle/config.json" || exit 1""",
           paths=("crio-crun-wasmedge",)),
    Broken("runs-as-root",
           "test_mixed_pods.py::test_user_and_new_privileges_of_the_security_context_hold_for_the_guest_s_process",
           crun="""change 's/"uid":1000/"uid":0/'""", paths=BOTH),
    Broken("shares-no-pid-namespace",
           "test_mixed_pods.py::test_a_guest_runs_in_a_pod_that_shares_its_pid_namespace",
           crun="""change 's/{"type":"pid","path":"[^"]*"}/{"type":"pid"}/'"""),
    Broken("listens-elsewhere", "test_network.py::test_port_forward_reaches_a_listening_guest",
           crun="change 's/port=18080/port=18081/'"),
    Broken("listens-next-door", "test_network.py::test_a_listening_guest_is_reached_at_the_pod_s_address",
           crun="change 's/port=18080/port=18081/'"),
    Broken("takes-another-handler-for-the-default", "test_sandboxes.py::test_an_empty_handler_is_the_default_one",
           containerd="sed -i 's/default_runtime_name = .*/default_runtime_name = \"under-test\"/' \"$config\""),
    Broken("does-not-use-the-image-s-stop-signal", "test_lifecycle.py::test_the_image_s_stop_signal_is_used",
           crun=LOSES_A_SIGNAL),
    Broken("does-not-use-the-container-s-stop-signal", "test_lifecycle.py::test_a_container_s_own_stop_signal_is_used",
           crun=LOSES_A_SIGNAL, paths=(PATH_2,)),
    Broken("removes-no-image", "test_images.py::test_a_removed_image_is_gone_from_list_and_status",
           containerd=ANSWERS.replace("ANSWER", 'case $2 in rmi) exit 0 ;; esac')),
    Broken("ends-a-guest-with-its-image", "test_images.py::test_a_guest_goes_on_when_its_image_is_asked_to_be_removed",
           containerd=ANSWERS.replace("ANSWER", """case $2 in rmi)
    "$0.real" "$@"
    "$0.real" "$1" ps --quiet | xargs "$0.real" "$1" stop --timeout=0
    exit 0
esac""")),
    Broken("pulls-another-tag", "test_images.py::test_a_tag_that_the_registry_does_not_have_is_refused_by_name",
           containerd=ANSWERS.replace("ANSWER", 'case $3 in *:no-such-tag) exit 0 ;; esac')),
    Broken("counts-no-image", "test_images.py::test_the_file_system_of_images_tells_what_they_use",
           containerd="sed -i 's/restrict_oom_score_adj/stats_collect_period = 3600\\n&/' \"$config\""),
    Broken("runs-the-native-twin-and-lies", "test_lifecycle.py::test_a_created_container_has_not_run",
           runc=NATIVE_TWIN, everything=True, paths=EMBEDDED),
    Broken("swaps-the-streams-of-an-image-with-an-engine", "test_logs.py::test_standard_error_is_logged_apart",
           runc='[ "${command-}" != create ] || exec 3>&1 1>&2 2>&3', paths=EMBEDDED),
]  # fmt: skip


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("mutant", "path"),
    [pytest.param(one, path, id=f"{one.name}-{path}") for one in MUTANTS for path in one.paths],
)
def test_what_is_broken_is_found(mutant: Broken, path: str, run_suite: Runner, tmp_path: Path) -> None:
    if mutant.containerd:
        name, text = "containerd", CONTAINERD.replace("BROKEN", mutant.containerd)
    else:
        name = "runc" if mutant.runc else "crun"
        text = CRUN.replace("BROKEN", mutant.runc or mutant.crun).replace("REAL", REAL[name])
    program = tmp_path / name
    program.write_text(text)
    program.chmod(0o755)
    check = mutant.kills if "/" in mutant.kills else f"pods/{mutant.kills}"
    suites = REPOSITORY / "suites"

    ran = run_suite(
        suites / WITNESS, str(suites / check), f"--component={name}={program}", runtime=path, seconds=480,
        report_dir=tmp_path / "report",
    )  # fmt: skip

    judged = {row["check"]: row["judged"] for row in ran.rows if row["kind"] == "record"}
    assert judged == {check: "failed", WITNESS: "failed" if mutant.everything else "passed"}
    assert ran.exit_code == 1
