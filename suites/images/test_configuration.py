"""What an image says about itself reaches the container."""

from dataclasses import replace

from conformance import Feature, needs, requirement


def run_as_shipped(path, workload, config, words=(), **more):
    """Run an image with nothing but these words after its name; the nonce must be in them or in the image."""
    image = path.image(workload, config=config, files=more.pop("files", {}), above=more.pop("above", ()))
    assert path.load(image).ok
    spec = path.spec(workload, image=image.name, **more)
    return path.run_spec(replace(spec, args=tuple(words), env=()))


@requirement("IMG-ENTRYPOINT")
@needs(Feature.IMAGES)
def test_cmd_is_appended_to_entrypoint(path):
    nonce = path.new_nonce()
    config = {"Entrypoint": [path.module("arguments"), "first"], "Cmd": ["second one", f"nonce={nonce}"]}

    result = run_as_shipped(path, "arguments", config, nonce=nonce)

    assert result.proven
    assert result.report["args"][1:] == ["first", "second one", f"nonce={nonce}"]


@requirement("IMG-CMD-REPLACED")
@needs(Feature.IMAGES)
def test_words_of_the_caller_replace_cmd_and_keep_entrypoint(path):
    nonce = path.new_nonce()
    config = {"Entrypoint": [path.module("arguments"), "kept"], "Cmd": ["replaced"]}

    result = run_as_shipped(path, "arguments", config, ["given", f"nonce={nonce}"], nonce=nonce)

    assert result.proven
    assert result.report["args"][1:] == ["kept", "given", f"nonce={nonce}"]


@requirement("IMG-ENV")
@needs(Feature.IMAGES)
def test_the_image_s_variables_reach_the_guest(path):
    nonce = path.new_nonce()
    variables = ["FROM_IMAGE=yes  ", "PATH=/only/here"]
    config = {"Env": variables, "Entrypoint": [path.module("environment"), f"nonce={nonce}"]}

    result = run_as_shipped(path, "environment", config, nonce=nonce)

    assert result.proven
    assert [v for v in variables if v not in result.report["env"]] == []


@requirement("IMG-WORKINGDIR")
@needs(Feature.IMAGES)
def test_a_relative_path_starts_at_the_image_s_working_directory(path):
    nonce = path.new_nonce()
    config = {"WorkingDir": "/work", "Entrypoint": [path.module("working-directory"), f"nonce={nonce}"]}

    result = run_as_shipped(path, "working-directory", config, nonce=nonce, files={"work/here.txt": b"here\n"})

    path.observe(cwd=result.report.get("cwd"), errno=result.report.get("errno"))
    assert result.proven
    assert result.report["relative"] == "here\n"


@requirement("IMG-USER-UNKNOWN")
@needs(Feature.IMAGES)
def test_a_user_that_the_image_does_not_know_is_refused_by_name(path):
    nonce = path.new_nonce()
    config = {"User": "nobody-knows-me", "Entrypoint": [path.module("exit-return-0"), f"nonce={nonce}"]}

    result = run_as_shipped(path, "exit-return-0", config, nonce=nonce)

    path.observe(named=b"nobody-knows-me" in result.stderr)
    assert not result.guest_started
    assert result.exit_code not in (0, None)
    assert b"nobody-knows-me" in result.stderr


@requirement("IMG-LABELS")
@needs(Feature.IMAGES, Feature.HANDLER, Feature.CRUN)
def test_a_label_that_asks_for_wasm_reaches_the_runtime(path):
    nonce = path.new_nonce()
    config = {"Labels": {"run.oci.handler": "wasm"}, "Entrypoint": [path.module("exit-return-0"), f"nonce={nonce}"]}

    result = run_as_shipped(path, "exit-return-0", config, nonce=nonce, annotations={})

    assert result.proven


@requirement("IMG-MANIFEST-ANNOTATION")
@needs(Feature.IMAGES, Feature.HANDLER, Feature.CRUN)
def test_an_annotation_of_the_manifest_stays_in_the_manifest(path):
    image = path.image("exit-return-0", annotations={"run.oci.handler": "wasm"})
    assert path.load(image).ok

    result = path.run("exit-return-0", image=image.name, annotations={})

    assert not result.guest_started
    assert result.exit_code not in (0, None)


@requirement("IMG-WHITEOUT")
@needs(Feature.IMAGES)
def test_whiteouts_hide_what_lies_in_layers_below(path):
    below = {"data/gone.txt": b"gone", "data/kept.txt": b"kept", "all/old.txt": b"old"}
    above = {"data/.wh.gone.txt": b"", "all/.wh..wh..opq": b"", "all/new.txt": b"new"}
    names = ["data/gone.txt", "data/kept.txt", "all/old.txt", "all/new.txt", "data/.wh.gone.txt", "all/.wh..wh..opq"]
    image = path.image("files", files=below, above=[above])
    assert path.load(image).ok

    result = path.run("files", image=image.name, args=[f"read:/{name}" for name in names])

    assert result.proven
    found = {name: r.get("text") for name, r in zip(names, result.reports, strict=False) if r["errno"] != "ENOENT"}
    assert found == {"data/kept.txt": "kept", "all/new.txt": "new"}


@requirement("IMG-DIGEST")
@needs(Feature.IMAGES)
def test_a_pulled_image_has_the_digest_it_was_built_with(path):
    image = path.image("exit-return-0")
    reference = path.push(image)
    assert path.pull(reference).ok

    digests = [name.partition("@")[2] for name in path.inspect_image(reference)["RepoDigests"]]

    assert image.digest in digests


@requirement("IMG-DIGEST-WRONG")
@needs(Feature.IMAGES)
def test_a_digest_that_the_registry_does_not_have_is_refused(path):
    image = path.image("exit-return-0")
    reference = path.push(image)
    wrong = f"{reference.rpartition(':')[0]}@sha256:{'0' * 64}"

    pulled = path.pull(wrong)

    assert not pulled.ok
    assert pulled.stderr != b""
