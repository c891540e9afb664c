"""The specs of critest, cri-tools' own check of a CRI runtime, each judged as critest judged it."""

from conformance import Feature, critest, needs, needs_node, requirement


@critest("container")
@requirement("CRITEST-CONTAINER")
@needs(Feature.PODS)
def test_critest_s_spec_about_containers_holds(path, spec):
    assert spec.failure == ""


@critest("pod")
@requirement("CRITEST-POD")
@needs(Feature.PODS)
def test_critest_s_spec_about_pods_holds(path, spec):
    assert spec.failure == ""


@critest("image")
@requirement("CRITEST-IMAGE")
@needs(Feature.PODS)
def test_critest_s_spec_about_images_holds(path, spec):
    assert spec.failure == ""


@critest("network")
@requirement("CRITEST-NETWORK")
@needs(Feature.PODS)
def test_critest_s_spec_about_networks_and_streams_holds(path, spec):
    assert spec.failure == ""


@critest("security")
@requirement("CRITEST-SECURITY")
@needs(Feature.PODS)
def test_critest_s_spec_about_security_holds(path, spec):
    assert spec.failure == ""


@critest("apparmor")
@requirement("CRITEST-APPARMOR")
@needs(Feature.PODS)
@needs_node("apparmor")
def test_critest_s_spec_about_apparmor_holds(path, spec):
    assert spec.failure == ""
