#!/usr/bin/env python3
"""Installs on this machine what the host has staged, and nothing else.

Run as root with the directory of ``manifest.json``; standard library only. A component
whose digest and files are as recorded is not touched; one that changed is replaced file by
file, each by a rename; one that is no longer staged is removed. The record is written
after each component, so an installation that was cut short goes on where it stopped.
"""

import hashlib
import json
import os
import subprocess
import sys

RECORD = "/var/lib/conformance-components.json"


def read_json(path, default):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return default


def write(path, data, mode):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = path + ".conformance-partial"
    with open(partial, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    os.rename(partial, path)


def as_wanted(path, entry):
    """Whether the file is there as the manifest has it."""
    try:
        if "link" in entry:
            return os.readlink(path) == entry["link"]
        if os.path.islink(path) or os.stat(path).st_mode & 0o7777 != entry["mode"]:
            return False
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == entry["sha256"]
    except OSError:
        return False


def put(path, entry, objects):
    if "link" in entry:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        partial = path + ".conformance-partial"
        if os.path.lexists(partial):
            os.unlink(partial)
        os.symlink(entry["link"], partial)
        os.rename(partial, path)
        return
    with open(os.path.join(objects, entry["sha256"]), "rb") as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise SystemExit("install: %s arrived damaged" % path)
    write(path, data, entry["mode"])


def units(files):
    return sorted(os.path.basename(path) for path in files if path.startswith("/etc/systemd/system/"))


def systemctl(*words):
    subprocess.run(["systemctl", *words], check=True, timeout=120)


def save(record):
    write(RECORD, json.dumps(record, indent=1, sort_keys=True).encode(), 0o644)


def remove(name, record, kept):
    """Remove the files of a component that no other component has."""
    for unit in units(record[name]["files"]):
        subprocess.run(["systemctl", "disable", "--now", unit], check=False, timeout=120)
    for path in record[name]["files"]:
        if path not in kept and os.path.lexists(path):
            os.unlink(path)
    print("%-12s %.12s removed" % (name, record[name]["digest"]))
    del record[name]
    save(record)


def main(stage):
    manifest = read_json(os.path.join(stage, "manifest.json"), None)
    record = read_json(RECORD, {})
    objects = os.path.join(stage, "objects")
    wanted = {row["name"]: row for row in manifest["components"]}
    kept = {path for row in wanted.values() for path in row["files"]}
    for name in sorted(set(record) - set(wanted)):
        remove(name, record, kept)
    for name, row in sorted(wanted.items()):
        before = record.get(name, {"digest": "-", "files": []})
        changed = [path for path, entry in row["files"].items() if not as_wanted(path, entry)]
        gone = [path for path in before["files"] if path not in kept and os.path.lexists(path)]
        if before["digest"] == row["digest"] and not changed and not gone:
            print("%-12s %.12s unchanged" % (name, row["digest"]))
            continue
        for path in changed:
            put(path, row["files"][path], objects)
        for path in gone:
            os.unlink(path)
        if units(row["files"]):
            systemctl("daemon-reload")
            systemctl("enable", *units(row["files"]))
            systemctl("restart", *units(row["files"]))
        record[name] = {"digest": row["digest"], "files": sorted(row["files"])}
        save(record)
        print("%-12s %.12s -> %.12s installed (%d files)" % (name, before["digest"], row["digest"], len(changed)))
    if not wanted:
        print("no components are staged: the packages are all there is")
    for name in manifest["missing"]:
        print("%-12s is not built yet: this machine has its packages only" % name)


if __name__ == "__main__":
    main(sys.argv[1])
