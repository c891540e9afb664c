"""A guest that listens, and the ways to it."""

from conformance import Feature, needs, requirement
from conformance.node import http

PORT = 18080


@requirement("CRI-POD-ADDRESS")
@needs(Feature.PODS, Feature.LISTENER)
def test_a_listening_guest_is_reached_at_the_pod_s_address(path):
    nonce = path.new_nonce()
    pod = path.pod()
    container = pod.start(path.spec("listen", args=[f"port={PORT}"], nonce=nonce))
    assert container.wait_until_output()

    reply = http.get(path.node, f"http://{pod.address()}:{PORT}/")

    result = path.finish(container)
    assert result.proven
    assert reply.stdout.decode() == f"200 {nonce}\n"
    assert result.reports == ({"listening": PORT}, {"served": 1})


@requirement("CRI-PORT-FORWARD")
@needs(Feature.PODS, Feature.LISTENER)
def test_port_forward_reaches_a_listening_guest(path):
    nonce = path.new_nonce()
    pod = path.pod()
    container = pod.start(path.spec("listen", args=[f"port={PORT}"], nonce=nonce))
    assert container.wait_until_output(b"listening")

    port = pod.forward(PORT)
    assert port
    reply = http.get(path.node, f"http://127.0.0.1:{port}/")

    result = path.finish(container)
    assert result.proven
    assert reply.stdout.decode() == f"200 {nonce}\n"
