"""A guest that listens: WasmEdge's sockets, which WASI preview 1 does not have."""

from conformance import Feature, needs, requirement
from conformance.node import http

PORT = 18080
URL = f"http://127.0.0.1:{PORT}/"


@requirement("OCI-NETWORK-LISTENER")
@needs(Feature.LISTENER, Feature.ANNOTATIONS)
def test_a_listening_guest_answers_in_its_own_network(path):
    nonce = path.new_nonce()
    container = path.launch("listen", args=[f"port={PORT}"], nonce=nonce)

    reply = http.get(path.node, URL, network_of=container.pid)

    result = path.finish(container)
    assert result.proven
    assert reply.stdout.decode() == f"200 {nonce}\n"
    assert result.reports == ({"listening": PORT}, {"served": 1})


@requirement("OCI-NETWORK-SOCKETS-APART")
@needs(Feature.LISTENER, Feature.ANNOTATIONS)
def test_a_listening_guest_is_not_reached_in_the_node_s_network(path):
    container = path.launch("listen", args=[f"port={PORT}"])

    outside = http.get(path.node, URL, wait_seconds=0.5)
    inside = http.get(path.node, URL, network_of=container.pid)

    result = path.finish(container)
    assert result.proven
    assert inside.ok
    assert not outside.ok
    assert b"refused" in outside.stderr
