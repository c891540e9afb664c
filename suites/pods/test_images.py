"""Images as a kubelet handles them: pulled, listed, used by a container, removed."""

from dataclasses import replace

from conformance import Feature, needs, requirement


def pulled(path, **of_image):
    """An image that no other check has, pulled from the registry: its reference there, and how the pull ended."""
    image = path.image("exit-return-0", "sleep", files={"whose": path.new_nonce().encode()}, **of_image)
    reference = path.push(image)
    return reference, path.pull(reference)


def names(path):
    """Every name by which the runtime lists an image."""
    return [name for image in path.images.listed() for name in (*image["repoTags"], *image["repoDigests"])]


@requirement("CRI-IMAGE-LISTED")
@needs(Feature.PODS, Feature.IMAGES)
def test_an_image_that_was_pulled_by_tag_is_listed_by_it_and_runs(path):
    reference, pull = pulled(path)
    assert pull.ok

    result = path.run("exit-return-0", image=reference)

    assert result.proven
    assert reference in names(path)
    assert int(path.images.status(reference)["size"]) > 0


@requirement("CRI-IMAGE-DIGEST")
@needs(Feature.PODS, Feature.IMAGES)
def test_an_image_that_was_pulled_by_digest_is_known_by_it_and_runs(path):
    image = path.image("exit-return-0", files={"whose": path.new_nonce().encode()})
    by_digest = f"{path.push(image).rpartition(':')[0]}@{image.digest}"
    assert path.pull(by_digest).ok

    result = path.run("exit-return-0", image=by_digest)

    assert result.proven
    assert by_digest in names(path)
    assert by_digest in path.images.status(by_digest)["repoDigests"]


@requirement("CRI-PULL-REFERENCE")
@needs(Feature.PODS, Feature.IMAGES)
def test_a_guest_runs_by_the_reference_that_the_pull_has_told(path):
    reference, pull = pulled(path)
    assert pull.ok
    told = pull.stdout.decode().split()[-1]

    # both, as a kubelet says them: CRI-O's policies about signatures go by the name
    both = {"image": {"image": told, "user_specified_image": reference}}
    result = path.finish(path.pod().start(path.spec("exit-return-0", image=told), changes=both))

    assert result.proven
    assert result.exit_code == 0
    assert path.images.status(reference)["id"] == told


@requirement("CRI-IMAGE-ID")
@needs(Feature.PODS, Feature.IMAGES)
def test_a_container_s_status_names_its_image_as_the_list_of_images_does(path):
    reference, pull = pulled(path)
    assert pull.ok

    result = path.run("exit-return-0", image=reference)

    path.observe(told=bool(result.status.get("imageId")))
    assert result.proven
    assert result.status["imageId"] == path.images.status(reference)["id"]


@requirement("CRI-PULL-MISSING")
@needs(Feature.PODS, Feature.IMAGES)
def test_a_tag_that_the_registry_does_not_have_is_refused_by_name(path):
    reference, pull = pulled(path)
    missing = f"{reference.rpartition(':')[0]}:no-such-tag"

    refused = path.pull(missing)

    assert pull.ok
    assert not refused.ok
    assert missing.encode() in refused.stderr
    assert missing not in names(path)


@requirement("CRI-IMAGE-ABSENT")
@needs(Feature.PODS, Feature.IMAGES)
def test_an_image_that_is_not_there_has_no_status_and_is_no_error(path):
    reference, pull = pulled(path)
    absent = f"{reference.rpartition(':')[0]}:never-pulled"

    looked = path.images.look(absent)

    assert pull.ok
    assert path.images.status(reference) != {}
    assert b"no such image" in looked.stderr


@requirement("CRI-IMAGE-REMOVE")
@needs(Feature.PODS, Feature.IMAGES)
def test_a_removed_image_is_gone_from_list_and_status(path):
    reference, pull = pulled(path)
    assert pull.ok
    ran = path.run("exit-return-0", image=reference)
    known = path.images.status(reference)

    removed = path.remove_image(known["id"])

    assert ran.proven
    assert removed.ok
    assert [name for name in names(path) if name in (*known["repoTags"], *known["repoDigests"])] == []
    assert known["id"] not in [image["id"] for image in path.images.listed()]
    assert path.images.status(reference) == path.images.status(known["id"]) == {}


@requirement("CRI-IMAGE-REMOVE-TAGS")
@needs(Feature.PODS, Feature.IMAGES)
def test_an_image_that_is_removed_by_one_tag_loses_all(path):
    image = path.image("exit-return-0", files={"whose": path.new_nonce().encode()})
    first, second = (path.push(replace(image, name=f"{image.name}{end}")) for end in ("-first", "-second"))
    assert path.pull(first).ok
    assert path.pull(second).ok
    known = path.images.status(first)

    removed = path.remove_image(first)

    path.observe(left=len([name for name in names(path) if name in (first, second)]))
    assert sorted(known["repoTags"]) == [first, second]
    assert removed.ok
    assert [name for name in names(path) if name in (first, second)] == []
    assert path.images.status(known["id"]) == {}


@requirement("CRI-IMAGE-PULL-AGAIN")
@needs(Feature.PODS, Feature.IMAGES)
def test_an_image_that_was_removed_can_be_pulled_again_and_runs(path):
    reference, pull = pulled(path)
    known = path.images.status(reference)
    assert pull.ok
    assert path.remove_image(known["id"]).ok
    assert path.images.status(reference) == {}

    assert path.pull(reference).ok
    result = path.run("exit-return-0", image=reference)

    assert result.proven
    assert path.images.status(reference)["id"] == known["id"]


@requirement("CRI-IMAGE-IN-USE")
@needs(Feature.PODS, Feature.IMAGES)
def test_a_guest_goes_on_when_its_image_is_asked_to_be_removed(path):
    reference, pull = pulled(path)
    assert pull.ok
    seconds = round(3 * path.node.pace)
    container = path.pod().start(path.spec("sleep", [f"seconds={seconds}"], image=reference))
    assert container.wait_until_output()

    removed = path.remove_image(path.images.status(reference)["id"])
    gone = path.images.status(reference) == {}
    state = container.state
    result = path.finish(container)

    path.observe(removed=removed.ok)
    assert result.proven
    assert removed.ok == gone
    assert state == "CONTAINER_RUNNING"
    assert result.exit_code == 0
    assert result.status["state"] == "CONTAINER_EXITED"


@requirement("CRI-IMAGE-PINNED")
@needs(Feature.PODS, Feature.IMAGES)
def test_the_image_of_the_pods_own_container_is_spared_by_garbage_collection(path):
    reference, pull = pulled(path)

    pinned = [name for image in path.images.listed() if image["pinned"] for name in image["repoTags"]]

    assert pull.ok
    assert path.launcher.pause_image in pinned
    assert reference not in pinned


@requirement("CRI-IMAGE-FS")
@needs(Feature.PODS, Feature.IMAGES)
def test_the_file_system_of_images_tells_what_they_use(path):
    reference, pull = pulled(path)
    assert pull.ok
    assert path.run("exit-return-0", image=reference).proven

    first, *_ = path.images.file_systems()

    assert int(first["timestamp"]) > 0
    assert int(first["usedBytes"]["value"]) > 0
    assert int(first["inodesUsed"]["value"]) > 0
    assert path.host.file(first["fsId"]["mountpoint"]).is_directory
