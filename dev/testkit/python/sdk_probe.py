"""Judges a chain with the real Bittensor SDK: reads a subnet the way its users do and prints what it saw as JSON.

Everything is read at least twice by different ways (metagraph, neuron list, storage) and must agree. With --exercise it
also publishes an endpoint and sets weights with development keys, and reads them back. With --expect it compares the
weights with a JSON file made by another client. Any failure or mismatch is printed to stderr and exits 1.

Needs bittensor==11.3.0. Set BITTENSOR_RUNTIME_CACHE_DIR to an empty directory, or the SDK may show another chain's metadata.
"""

import argparse
import json
import sys
import time

import bittensor as bt
from bittensor.wallets import Keypair

U16_MAX = 65_535


class Mismatch(Exception):
    """Two ways of reading the same thing disagree, or a call had no effect."""


class DevWallet:
    """The two keys an SDK call needs, from development URIs."""

    def __init__(self, hotkey_uri: str):
        self.hotkey = Keypair.create_from_uri(hotkey_uri)
        self.coldkey = Keypair.create_from_uri(f"{hotkey_uri}Cold")
        self.coldkeypub = self.coldkey


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Mismatch(what)


def read_neurons(chain, netuid: int) -> tuple[dict, list[dict]]:
    """The metagraph, checked against the neuron list of about the same time."""
    metagraph = chain.subnets.metagraph(netuid)
    listed = {neuron.uid: neuron for neuron in chain.neurons.all(netuid)}
    require(len(listed) == len(metagraph.neurons), "neuron list and metagraph differ in length")
    neurons = []
    for neuron in metagraph.neurons:
        other = listed.get(neuron.uid)
        require(other is not None, f"uid {neuron.uid} is only in the metagraph")
        require(
            (other.hotkey, other.coldkey) == (neuron.hotkey, neuron.coldkey),
            f"uid {neuron.uid} has other keys in the neuron list",
        )
        neurons.append(
            {
                "uid": neuron.uid,
                "hotkey": neuron.hotkey,
                "coldkey": neuron.coldkey,
                "active": neuron.active,
                "validator_permit": neuron.validator_permit,
                "stake_rao": neuron.total_stake.rao,
                "last_update": neuron.last_update,
                "incentive": neuron.incentive,
                "dividends": neuron.dividends,
                "axon": neuron.axon,
            }
        )
    head = {
        "netuid": metagraph.netuid,
        "name": metagraph.name,
        "symbol": metagraph.symbol,
        "block": metagraph.block,
        "tempo": metagraph.tempo,
        "owner_hotkey": metagraph.owner_hotkey,
        "num_uids": metagraph.num_uids,
    }
    return head, neurons


def read_weights(chain, netuid: int) -> dict[str, list[list[int]]]:
    """Every stored row of raw weights by validator uid."""
    rows = chain.query_map(("SubtensorModule", "Weights"), [netuid])
    weights = {}
    for key, row in rows:
        uid = int(key[-1]) if isinstance(key, (tuple, list)) else int(key)
        weights[str(uid)] = sorted([int(target), int(value)] for target, value in row)
    for row in weights.values():
        require(max(value for _, value in row) == U16_MAX, "a stored row is not scaled to its maximum")
    return weights


def wait_for(what: str, seconds: float, condition):
    """The condition's first truthy value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        require(time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.2)


def neuron_of(chain, netuid: int, hotkey: str):
    neurons = [neuron for neuron in chain.subnets.metagraph(netuid).neurons if neuron.hotkey == hotkey]
    require(len(neurons) == 1, f"hotkey {hotkey} has {len(neurons)} uids")
    return neurons[0]


def exercise(chain, netuid: int, validator_uri: str, miner_uri: str) -> dict:
    """Publishes an endpoint and sets weights, and reads both back."""
    validator, miner = DevWallet(validator_uri), DevWallet(miner_uri)
    served = chain.execute(bt.ServeAxon(netuid=netuid, ip="127.0.0.2", port=9000), miner)
    served.raise_for_failure()
    axon = neuron_of(chain, netuid, miner.hotkey.ss58_address).axon
    require(axon == "127.0.0.2:9000", f"published endpoint reads back as {axon}")

    refused = None
    try:
        refused = chain.execute(bt.ServeAxon(netuid=netuid, ip="127.0.0.1", port=9000), miner)
    except Exception as error:  # The SDK raises for refusals of the pool and returns failures of dispatch.
        refused = error
    require(not getattr(refused, "success", False), "the endpoint 127.0.0.1 was accepted")

    uid = neuron_of(chain, netuid, validator.hotkey.ss58_address).uid
    target = neuron_of(chain, netuid, miner.hotkey.ss58_address).uid
    wait_for("a validator permit", 60, lambda: neuron_of(chain, netuid, validator.hotkey.ss58_address).validator_permit)
    before = chain.balances.balance(validator.coldkey.ss58_address)
    intent = bt.SetWeights(netuid=netuid, weights={0: 0.25, target: 1.0})
    chain.execute(intent, validator).raise_for_failure()
    row = read_weights(chain, netuid).get(str(uid))
    require(row == sorted([[0, 16_384], [target, U16_MAX]]), f"weights read back as {row}")
    after = chain.balances.balance(validator.coldkey.ss58_address)
    require(before.rao == after.rao, "setting weights cost its coldkey something")
    return {"axon": axon, "weights_uid": uid, "refusal": str(refused)}


def probe(arguments: argparse.Namespace) -> dict:
    chain = bt.Subtensor(arguments.url)
    report: dict = {"block": chain.block, "spec_version": chain.spec_version}
    subnets = {subnet.netuid: subnet for subnet in chain.subnets.all()}
    require(arguments.netuid in subnets, f"subnet {arguments.netuid} is not listed")
    if arguments.exercise:
        report["exercise"] = exercise(chain, arguments.netuid, arguments.validator_uri, arguments.miner_uri)
    report["metagraph"], report["neurons"] = read_neurons(chain, arguments.netuid)
    require(subnets[arguments.netuid].neuron_count <= len(report["neurons"]), "neurons went missing")
    owner = next(neuron for neuron in report["neurons"] if neuron["hotkey"] == report["metagraph"]["owner_hotkey"])
    report["owner_balance_rao"] = chain.balances.balance(owner["coldkey"]).rao
    report["weights"] = read_weights(chain, arguments.netuid)
    if arguments.expect:
        with open(arguments.expect, encoding="utf-8") as file:
            expected = json.load(file)["weights"]
        for uid, row in expected.items():
            seen = report["weights"].get(uid)
            require(seen == sorted(row), f"weights of uid {uid}: expected {sorted(row)}, the SDK reads {seen}")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="ws://127.0.0.1:9944", help="the chain's WebSocket URL")
    parser.add_argument("--netuid", type=int, default=39, help="the subnet to read")
    parser.add_argument("--exercise", action="store_true", help="also serve an axon and set weights with dev keys")
    parser.add_argument("--validator-uri", default="//Validator1", help="dev URI of the hotkey that sets weights")
    parser.add_argument("--miner-uri", default="//Miner1", help="dev URI of the hotkey that serves an axon")
    parser.add_argument("--expect", help='JSON file {"weights": {"UID": [[uid, weight], …]}} that must read back equal')
    try:
        report = probe(parser.parse_args())
    except Exception as error:
        print(f"sdk probe failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    json.dump(report, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
