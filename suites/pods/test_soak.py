"""What a single pod does not show."""

import json
import statistics

from conformance import Feature, needs, requirement, soak

PODS = 200
#: The first pods warm caches; they are not counted.
WARM_UP = 20
#: A daemon's own threads and connections come and go; a leak of one per pod is far above.
SPARE = 5
#: What of the node a pod takes, and must give back. $1 is the runtime's daemon.
COUNT = r"""
printf '{"processes": %d, "descriptors": %d, "mounts": %d, "cgroups": %d, "networks": %d}' \
    "$(ls -d /proc/[0-9]* | wc -l)" "$(ls "/proc/$1/fd" | wc -l)" "$(wc -l </proc/self/mountinfo)" \
    "$(find /sys/fs/cgroup -type d | wc -l)" "$(ls /run/netns /var/run/netns 2>/dev/null | wc -l)"
"""


def held(path):
    daemon = path.node.do(path.launcher.service.has_ended()).fields["pid"]
    return json.loads(path.node.run(["sh", "-c", COUNT, "sh", str(daemon)]).stdout)


@soak
@requirement("CRI-SOAK")
@needs(Feature.PODS)
def test_two_hundred_pods_in_a_row_leave_nothing_and_take_no_longer(path):
    seconds = []
    for number in range(WARM_UP + PODS):
        if number == WARM_UP:
            before = held(path)
        busy_before = path.busy_seconds()
        result = path.run("exit-return-0")
        seconds.append(path.busy_seconds() - busy_before)
        assert result.proven
    after = held(path)

    kept = {name: count - before[name] for name, count in after.items() if count > before[name] + SPARE}
    first, last = statistics.median(seconds[WARM_UP:][:40]), statistics.median(seconds[-40:])
    path.observe(kept=kept)
    assert kept == {}
    assert last < 1.5 * first
