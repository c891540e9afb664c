"""Running one long build command: its output in a log that outlives it, its end bounded."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance.build import cache
from conformance.errors import InfrastructureError

LINES_SHOWN = 15
TELL_SECONDS = 60


def log_path(name: str) -> Path:
    """Where the log ``name`` is: in the cache, outside the entry, so that a failed build leaves it."""
    directory = cache.root() / "logs"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{name}.log"


def run(
    argv: Sequence[str],
    *,
    log: Path,
    timeout_seconds: float,
    lifeline: bool = False,
    tell: Callable[[float], None] | None = None,
) -> int:
    """Run ``argv`` with all output in ``log`` and give back its exit code.

    Args:
        argv: the command.
        log: overwritten.
        timeout_seconds: after this the command is ended.
        lifeline: the command gets a stdin that stays open and silent for as long as we live,
            and ends itself when that closes; where False, an empty stdin.
        tell: called every minute with the seconds so far.

    Raises:
        InfrastructureError: it cannot be started, or did not end in time.
    """
    with log.open("wb") as output:
        try:
            stdin = subprocess.PIPE if lifeline else subprocess.DEVNULL
            process = subprocess.Popen(argv, stdin=stdin, stdout=output, stderr=subprocess.STDOUT)
        except OSError as error:
            raise InfrastructureError(f"{argv[0]} cannot be started: {error.strerror}") from error
        try:
            return _wait(process, timeout_seconds, tell)
        except subprocess.TimeoutExpired as error:
            raise InfrastructureError(
                f"{argv[0]} did not end within {timeout_seconds:.0f} s; full log: {log}",
                hint=f"repeat it: {shlex.join(argv)}",
            ) from error
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], timeout_seconds: float, tell: Callable[[float], None] | None) -> int:
    waited = 0.0
    while tell is not None and waited + TELL_SECONDS < timeout_seconds:
        try:
            return process.wait(TELL_SECONDS)
        except subprocess.TimeoutExpired:
            waited += TELL_SECONDS
            tell(waited)
    return process.wait(timeout_seconds - waited)


def last_lines(log: Path, count: int = LINES_SHOWN) -> str:
    """The last ``count`` lines of a log, whatever bytes it holds."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it if it still runs: the lifeline, then SIGTERM (mmdebstrap cleans up), then SIGKILL."""
    if process.stdin:
        process.stdin.close()
    if process.poll() is None and not (process.stdin and _ended(process, 5)):
        process.terminate()
        if not _ended(process, 20):
            process.kill()
            process.wait()


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
