"""A guest that listens, and the ways to it."""

from conformance import Feature, needs, requirement
from conformance.node import http

PORT = 18080


def listening(path):
    """A pod with a guest that is about to listen, and what it will answer."""
    pod, nonce = path.pod(), path.new_nonce()
    container = pod.start(path.spec("listen", args=[f"port={PORT}"], nonce=nonce))
    assert container.wait_until_output(b"listening")
    return pod, container, f"200 {nonce}\n"


@requirement("CRI-POD-ADDRESS")
@needs(Feature.PODS, Feature.LISTENER)
def test_a_listening_guest_is_reached_at_the_pod_s_address(path):
    pod, container, answer = listening(path)

    reply = http.get(path.node, f"http://{pod.address()}:{PORT}/")

    result = path.finish(container)
    assert result.proven
    assert reply.stdout.decode() == answer
    assert result.reports == ({"listening": PORT}, {"served": 1})


@requirement("CRI-PORT-FORWARD")
@needs(Feature.PODS, Feature.LISTENER)
def test_port_forward_reaches_a_listening_guest(path):
    pod, container, answer = listening(path)

    port = pod.forward(PORT)
    reply = http.get(path.node, f"http://127.0.0.1:{port}/")

    result = path.finish(container)
    assert result.proven
    assert reply.stdout.decode() == answer
