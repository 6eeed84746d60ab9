"""A validator that shares no code with ours, made of grpcio and the .proto files alone.

Reads one JSON object from stdin: "endpoint" of a miner, "proto" (the folder of its .proto files), "miner" (its hotkey), the seeds
"validator" (assigned, with a permit), "other" (with a permit) and "stranger" (without), "key" (an OpenSSH public key line) and
"sessions" (how many the other validator may open). Authenticates and discovers over both spellings of the service and checks every
signature of the answers; then asks wrongly in every way of docs/miner-protocol.md. Prints one JSON object as its last line: "nodes" of
each spelling, and "refusals" as [what, status, text]. Exits 1 with the reason if anything granted is not as documented.
"""

import hashlib
import importlib
import importlib.resources
import json
import re
import struct
import sys
import tempfile
import time
import uuid

import grpc
import sr25519
from grpc_tools import protoc

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
SPELLINGS = ("basilca.miner.v1", "basilica.miner.v1")


def ss58(public: bytes) -> str:
    body = b"\x2a" + public
    body += hashlib.blake2b(b"SS58PRE" + body).digest()[:2]
    number, text = int.from_bytes(body, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return text


def public_of(address: str) -> bytes:
    number = 0
    for digit in address:
        number = number * 58 + ALPHABET.index(digit)
    return number.to_bytes(35, "big")[1:33]


class Author:
    """A hotkey that asks."""

    def __init__(self, seed: str):
        self.pair = sr25519.pair_from_seed(bytes.fromhex(seed))
        self.hotkey = ss58(self.pair[0])
        self.epoch = 0

    def sign(self, payload: bytes) -> str:
        return sr25519.sign(self.pair, payload).hex()


def stubs(proto: str):
    """The messages, compiled from the .proto files as anybody would."""
    folder = tempfile.mkdtemp()
    known = str(importlib.resources.files("grpc_tools") / "_proto")
    files = ["basilca/common/v1/common.proto", "basilca/miner/v1/miner.proto"]
    if protoc.main(["protoc", f"-I{proto}", f"-I{known}", f"--python_out={folder}", *files]) != 0:
        sys.exit("protoc fails on the .proto files")
    sys.path.insert(0, folder)
    return importlib.import_module("basilca.miner.v1.miner_pb2")


given = json.loads(sys.stdin.read())
pb = stubs(given["proto"])
channel = grpc.insecure_channel(given["endpoint"])
miner = given["miner"]
validator, other, stranger = (Author(given[name]) for name in ("validator", "other", "stranger"))
refusals = []


def call(spelling: str, method: str, request):
    answer = {"AuthenticateValidator": pb.MinerAuthResponse, "DiscoverNodes": pb.ListNodeConnectionDetailsResponse}
    path = f"/{spelling}.MinerDiscovery/{method}"
    rpc = channel.unary_unary(path, lambda m: m.SerializeToString(), answer[method].FromString)
    return rpc(request, timeout=25)


def refused(what: str, method: str, request):
    # Both are asked within a second or two: what tells the time may differ by that.
    texts = {}
    for spelling in SPELLINGS:
        try:
            call(spelling, method, request)
        except grpc.RpcError as error:
            texts[(error.code().name, re.sub(r"\d+ s$", "", error.details()))] = error
        else:
            sys.exit(f"{what}: the miner grants it")
    if len(texts) != 1:
        sys.exit(f"{what}: the two spellings answer differently: {texts}")
    (error,) = texts.values()
    refusals.append([what, error.code().name, error.details()])


def now() -> int:
    return int(time.time())


def auth(author: Author, **changed):
    """An authentication; what is changed is changed before it is signed, but for the signature itself."""
    fields = {"nonce": str(uuid.uuid4()), "target": miner, "at": now(), "signature": None} | changed
    request = pb.ValidatorAuthRequest(
        validator_hotkey=changed.get("claimed", author.hotkey), nonce=fields["nonce"], target_miner_hotkey=fields["target"]
    )
    request.timestamp.value.seconds = fields["at"]
    payload = f"BASILICA_AUTH_V1:{fields['nonce']}:{fields['target']}:{fields['at']}".encode()
    request.signature = author.sign(payload) if fields["signature"] is None else fields["signature"]
    return request


def discover(author: Author, token: str, **changed):
    author.epoch += 1
    fields = {"nonce": str(uuid.uuid4()), "target": miner, "at": now(), "epoch": author.epoch, "key": given["key"]} | changed
    request = pb.DiscoverNodesRequest(
        validator_hotkey=author.hotkey,
        nonce=fields["nonce"],
        validator_public_key=fields["key"],
        target_miner_hotkey=fields["target"],
        session_token=token,
        epoch=fields["epoch"],
    )
    request.timestamp.value.seconds = fields["at"]
    request.signature_v2 = author.sign(v2(request))
    return request


def v2(request) -> bytes:
    key = hashlib.sha256(request.validator_public_key.encode()).hexdigest()
    at = request.timestamp.value.seconds
    parts = (request.validator_hotkey, request.target_miner_hotkey, request.nonce, at, request.epoch, request.session_token, key)
    return ("BASILICA_DISCOVER_V2:" + ":".join(map(str, parts))).encode()


def verify(what: str, signature: str, payload: bytes):
    if not sr25519.verify(bytes.fromhex(signature), payload, public_of(miner)):
        sys.exit(f"{what} is not the miner's own")


def session(author: Author, spelling: str = SPELLINGS[0]) -> str:
    request = auth(author)
    grant = call(spelling, "AuthenticateValidator", request)
    if not grant.authenticated or grant.miner_hotkey != miner or grant.HasField("error"):
        sys.exit(f"no grant: {grant}")
    nonce, token, expires = grant.response_nonce, grant.session_token, grant.expires_at.value.seconds
    verify("the grant", grant.miner_signature, f"MINER_AUTH_RESPONSE:{author.hotkey}:{nonce}:{token}".encode())
    payload = f"MINER_AUTH_RESPONSE_V2:{author.hotkey}:{request.nonce}:{nonce}:{expires}:{token}".encode()
    verify("the grant's end", grant.miner_signature_v2, payload)
    if not 0 < expires - now() <= 7200:
        sys.exit(f"the session ends at {expires}")
    return token


def prefixed(*fields: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(field)) + field for field in fields)


def nodes_of(author: Author, token: str, spelling: str):
    request = discover(author, token)
    answer = call(spelling, "DiscoverNodes", request)
    told = prefixed(struct.pack(">Q", len(answer.nodes)))
    for node in answer.nodes:
        host = f"[{node.host}]" if ":" in node.host else node.host
        price = str(node.hourly_rate_usd_micros) if node.HasField("hourly_rate_usd_micros") else ""
        keys = [key.encode() for key in node.host_keys]
        told += prefixed(
            node.node_id.encode(),
            f"{node.username}@{host}:{node.port}".encode(),
            node.status.encode(),
            price.encode(),
            struct.pack(">Q", len(keys)),
            *keys,
        )
    at = answer.timestamp.value.seconds
    payload = prefixed(
        b"BASILICA_DISCOVER_RESP_V1",
        miner.encode(),
        author.hotkey.encode(),
        hashlib.sha256(v2(request)).digest(),
        answer.response_nonce.encode(),
        str(at).encode(),
        hashlib.sha256(told).digest(),
    )
    verify("the list of nodes", answer.miner_signature, payload)
    if abs(at - now()) > 300:
        sys.exit(f"the list is of {at}")
    return [[node.node_id, node.username, node.host, node.port, node.status, node.hourly_rate_cents] for node in answer.nodes]


def ask_wrongly(token: str):
    authenticate, nodes = "AuthenticateValidator", "DiscoverNodes"
    used = auth(validator)
    call(SPELLINGS[0], authenticate, used)
    refused("replayed nonce", authenticate, used)
    refused("wrong target", authenticate, auth(validator, target=other.hotkey))
    refused("expired timestamp", authenticate, auth(validator, at=now() - 301))
    refused("timestamp of the future", authenticate, auth(validator, at=now() + 310))
    refused("absent timestamp", authenticate, auth(validator, at=0))
    refused("another's signature", authenticate, auth(other, claimed=validator.hotkey))
    refused("no permit", authenticate, auth(stranger))
    refused("no hotkey", authenticate, auth(validator, claimed=""))
    refused("garbage for a hotkey", authenticate, auth(validator, claimed="5Grw"))
    refused("garbage for a nonce", authenticate, auth(validator, nonce="a b"))
    refused("garbage for a signature", authenticate, auth(validator, signature="0xzz"))
    refused("missing session", nodes, discover(validator, ""))
    refused("garbage for a session", nodes, discover(validator, "abc"))
    refused("unknown session", nodes, discover(validator, "00" * 32))
    theirs = session(other)
    refused("another validator's session", nodes, discover(validator, theirs))
    refused("no key", nodes, discover(validator, token, key=""))
    refused("garbage for a key", nodes, discover(validator, token, key="ssh-ed25519 AAAA"))
    unsigned = discover(validator, token)
    unsigned.signature_v2 = ""
    refused("unsigned V1", nodes, unsigned)
    at = unsigned.timestamp.value.seconds
    unsigned.signature = validator.sign(f"BASILICA_DISCOVER_V1:{validator.hotkey}:{unsigned.nonce}:{at}".encode())
    refused("V1 alone", nodes, unsigned)
    swapped = discover(validator, token)
    swapped.epoch += 1
    refused("changed after signing", nodes, swapped)
    refused("wrong target of a discovery", nodes, discover(validator, token, target=other.hotkey))
    refused("deposed leader", nodes, discover(validator, token, epoch=0))
    for _ in range(given["sessions"] - 1):
        session(other)
    refused("too many sessions", authenticate, auth(other))


seen = {}
for spelling in SPELLINGS:
    token = session(validator, spelling)
    seen[spelling] = nodes_of(validator, token, spelling)
    seen[spelling + " (not assigned)"] = nodes_of(other, session(other, spelling), spelling)
    given["sessions"] -= 1
ask_wrongly(token)
print(json.dumps({"nodes": seen, "refusals": refusals}))
