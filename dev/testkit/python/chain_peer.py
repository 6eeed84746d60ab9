"""The public SDK's codec judges what a client sends: every extrinsic and every storage key, byte by byte.

Usage: chain_peer.py URL. Listens on a free port, prints "listening ws://…", and passes everything between its clients and
the chain at URL while it keeps their requests. Then it reads one line of JSON from stdin and prints one:

  extrinsics  for each expected call {"function", "params", "signer", "extrinsic"?} that our client signed (its bytes, or
              else the one that was submitted through here with that function): the bytes that bittensor_core composes
              from these values, metadata, nonce, era and our signature; the two must be equal, their hashes too, and the
              signature must hold over the payload that bittensor_core computes.
  keys        answered with every storage key that was asked for, as [pallet, item, params]; each was composed again from
              these and is equal.

Exits 1 with what differs. Needs bittensor-core==0.1.5 and websockets, which come with bittensor==11.3.0.
"""

import asyncio
import hashlib
import json
import sys

import bittensor_core
import websockets

PALLET = "SubtensorModule"


class Chain:
    """The chain, asked directly."""

    def __init__(self, connection):
        self.connection = connection
        self.last = 0

    async def ask(self, method: str, *params):
        self.last += 1
        request = {"jsonrpc": "2.0", "id": self.last, "method": method, "params": list(params)}
        await self.connection.send(json.dumps(request))
        while True:
            answer = json.loads(await self.connection.recv())
            if answer.get("id") == self.last:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]

    async def runtime(self) -> bittensor_core.Runtime:
        """As the SDK asks for it: metadata version 15, an option of opaque bytes."""
        answer = bytes.fromhex((await self.ask("state_call", "Metadata_metadata_at_version", "0x0f000000"))[2:])
        if answer[0] != 1:
            sys.exit("the chain has no metadata version 15")
        metadata = answer[1 + {0: 1, 1: 2, 2: 4}[answer[1] & 3] :]
        version = await self.ask("state_getRuntimeVersion")
        return bittensor_core.Runtime(metadata, version["specVersion"], version["transactionVersion"])


class Recorder:
    """Passes frames through and keeps the requests."""

    def __init__(self, url: str):
        self.url = url
        self.requests: list[dict] = []

    async def serve(self, client) -> None:
        async with websockets.connect(self.url, max_size=None) as chain:
            up = asyncio.create_task(self.pump(client, chain, keep=True))
            down = asyncio.create_task(self.pump(chain, client, keep=False))
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down):
                task.cancel()

    async def pump(self, source, sink, *, keep: bool) -> None:
        async for frame in source:
            if keep:
                request = json.loads(frame)
                self.requests.extend(request if isinstance(request, list) else [request])
            await sink.send(frame)

    def submitted(self) -> list[str]:
        methods = ("author_submitExtrinsic", "author_submitAndWatchExtrinsic")
        return [request["params"][0] for request in self.requests if request["method"] in methods]

    def storage_keys(self) -> set[str]:
        keys: set[str] = set()
        for request in self.requests:
            params = request.get("params") or []
            if request["method"] in ("state_getStorage", "state_getStorageAt"):
                keys.add(params[0])
            elif request["method"] in ("state_queryStorageAt", "state_queryStorage"):
                keys.update(params[0])
        return keys


def unprefixed(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


async def judge_extrinsic(chain: Chain, runtime, wanted: dict, ours: bytes) -> dict:
    """Composes the extrinsic again and compares; returns what was agreed on."""
    decoded = runtime.decode_extrinsic(ours)
    name = f"{PALLET}.{wanted['function']}"
    call = runtime.compose_call(PALLET, wanted["function"], wanted["params"])
    public = unprefixed(wanted["signer"])
    signature = unprefixed(flat_signature(decoded["signature"]))
    nonce, tip = decoded["nonce"], decoded["tip"]
    if not isinstance(decoded["era"], tuple):
        sys.exit(f"{name}: it lives for ever (era {decoded['era']})")
    period, phase = decoded["era"]
    born = await birth(chain, period, phase)
    era = {"period": period, "current": born}
    theirs, digest = runtime.encode_signed_extrinsic(
        call, public_key=public, signature=signature, signature_version=1, era=era, nonce=nonce, tip=tip, tip_asset_id=None
    )
    if bytes(theirs) != ours:
        sys.exit(f"{name}: ours {ours.hex()}, the SDK's {bytes(theirs).hex()}")
    if bytes(digest) != hashlib.blake2b(ours, digest_size=32).digest():
        sys.exit(f"{name}: the SDK names it {bytes(digest).hex()}")
    payload = runtime.signature_payload(
        call,
        era=era,
        nonce=nonce,
        tip=tip,
        tip_asset_id=None,
        genesis_hash=unprefixed(await chain.ask("chain_getBlockHash", 0)),
        era_block_hash=unprefixed(await chain.ask("chain_getBlockHash", born)),
    )
    signer = bittensor_core.ss58_encode(public, 42)
    if not bittensor_core.verify(bytes(payload), signature, signer):
        sys.exit(f"{name}: the signature does not hold over the SDK's payload (born at block {born})")
    return {"call": bytes(call).hex(), "nonce": nonce, "born": born, "hash": bytes(digest).hex()}


def flat_signature(signature) -> str:
    return next(iter(signature.values())) if isinstance(signature, dict) else signature


async def birth(chain: Chain, period: int, phase: int) -> int:
    """The newest block at which such a life can have begun."""
    head = int((await chain.ask("chain_getHeader"))["number"], 16)
    return bittensor_core.era_birth(period, head - (head - phase) % period)


def judge_keys(runtime, keys: set[str]) -> list[list]:
    items = {}
    for pallet in runtime.metadata_ir()["pallets"]:
        for entry in pallet["storage"]:
            prefix = bytes(runtime.storage_prefix(pallet["name"], entry["name"]))
            items[prefix] = (pallet["name"], entry["name"])
    found = []
    for text in sorted(keys):
        key = unprefixed(text)
        item = items.get(key[:32])
        if item is None:
            # Well-known keys such as :code belong to no pallet.
            if not key.startswith(b":"):
                sys.exit(f"no item has the key {text}")
            continue
        params = runtime.decode_storage_key_params(*item, key)
        params = list(params) if isinstance(params, (list, tuple)) else [params]
        again = bytes(runtime.storage_key(*item, params))
        if again != key:
            sys.exit(f"{'.'.join(item)} of {params}: ours {key.hex()}, the SDK's {again.hex()}")
        found.append([*item, params])
    return found


async def judge(chain: Chain, recorder: Recorder, question: dict) -> dict:
    runtime = await chain.runtime()
    submitted = {}
    for text in recorder.submitted():
        data = unprefixed(text)
        submitted[runtime.decode_extrinsic(data)["call"]["call_function"]] = data
    extrinsics = []
    for wanted in question["extrinsics"]:
        ours = unprefixed(wanted["extrinsic"]) if "extrinsic" in wanted else submitted.get(wanted["function"])
        if ours is None:
            sys.exit(f"no extrinsic with {wanted['function']} was submitted, only {sorted(submitted)}")
        extrinsics.append(await judge_extrinsic(chain, runtime, wanted, ours))
    return {"extrinsics": extrinsics, "keys": judge_keys(runtime, recorder.storage_keys())}


async def main(url: str) -> None:
    recorder = Recorder(url)
    async with websockets.serve(recorder.serve, "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"listening ws://127.0.0.1:{port}", flush=True)
        question = await asyncio.to_thread(sys.stdin.readline)
        async with websockets.connect(url, max_size=None) as connection:
            answer = await judge(Chain(connection), recorder, json.loads(question))
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
