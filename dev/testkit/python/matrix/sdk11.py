"""What `bittensor` 11 does with a chain: `sdk11.py URL PROFILE` tells each operation as a line of JSON (see steps.py).

The keys are the development chain's: //Alice has sudo, //Validator1 a permit, //Bob only tokens.
"""

from __future__ import annotations

import hashlib
import struct
import sys

import bittensor as bt
from bittensor import calls
from bittensor.wallets import Keypair

from steps import TOKEN, U16_MAX, Mismatch, mine_until, require, run, standing_still, tell, wait_for

NETUID = 39


class DevWallet:
    """The two keys an SDK call needs, from development URIs."""

    def __init__(self, hotkey_uri: str, coldkey_uri: str):
        self.hotkey = Keypair.create_from_uri(hotkey_uri)
        self.coldkey = Keypair.create_from_uri(coldkey_uri)
        self.coldkeypub = self.coldkey


ALICE = DevWallet("//Alice", "//Alice")
BOB = DevWallet("//BobHot", "//Bob")
CHARLIE = DevWallet("//CharlieHot", "//Charlie")
# The SDK counts a sealed submission as one nonce though it takes two, so its account sends nothing else afterwards.
DAVE = DevWallet("//DaveHot", "//Dave")
EVE = DevWallet("//EveHot", "//Eve")
VALIDATOR = DevWallet("//Validator1", "//Validator1Cold")
MINER = DevWallet("//Miner1", "//Miner1Cold")
NOBODY = DevWallet("//Nobody", "//NobodyCold")


def commit_hash(hotkey: Keypair, uids: list[int], values: list[int], salt: list[int], version: int) -> bytes:
    """The chain's commitment: blake2b-256 of the SCALE tuple (account, subnet, uids, values, salt, version key)."""

    def vector(numbers: list[int]) -> bytes:
        require(len(numbers) < 64, "one-byte lengths only")
        return bytes([len(numbers) << 2]) + struct.pack(f"<{len(numbers)}H", *numbers)

    parts = [bytes(hotkey.public_key), struct.pack("<H", NETUID), vector(uids), vector(values), vector(salt)]
    return hashlib.blake2b(b"".join(parts) + struct.pack("<Q", version), digest_size=32).digest()


class Matrix:
    def __init__(self, url: str, profile: str):
        self.url, self.profile = url, profile

    def connect(self) -> dict:
        self.chain = bt.Subtensor(self.url)
        first = self.chain.block
        wait_for("a new block", 20, lambda: self.chain.block > first)
        tell("chain", spec_version=self.chain.spec_version, head=self.chain.block)
        return {"spec_version": self.chain.spec_version}

    def tell_neuron(self, wallet: DevWallet, **values) -> None:
        keys = {"hotkey": wallet.hotkey.ss58_address, "coldkey": wallet.coldkey.ss58_address}
        tell("neuron", uid=self.uid(wallet.hotkey), **keys, **values)

    def tell_row(self) -> None:
        tell("weights", uid=self.uid(VALIDATOR.hotkey), row=self.row())

    # Reads ------------------------------------------------------------------

    def balance(self, key: Keypair) -> int:
        return self.chain.balances.balance(key.ss58_address).rao

    def balances(self) -> None:
        require(self.balance(CHARLIE.coldkey) == 10_000 * TOKEN, "a development account has 10,000 tokens")
        account = self.chain.query(("System", "Account"), [CHARLIE.coldkey.ss58_address])
        require(account["data"]["free"] == 10_000 * TOKEN, "storage and balance read differ")
        tell("balance", address=CHARLIE.coldkey.ss58_address, rao=self.balance(CHARLIE.coldkey))

    def staked_balance(self) -> None:
        coldkey = VALIDATOR.coldkey.ss58_address
        valued = self.chain.read("stake_value_for_coldkey", coldkey_ss58=coldkey)
        [position] = valued.positions
        worth = valued.stake_value.rao
        require(worth >= 100_000 * TOKEN, f"its stake is worth {worth}")
        tell("balance", address=coldkey, rao=self.balance(VALIDATOR.coldkey))
        # It counts in floats.
        tell("worth", hotkey=position.hotkey, coldkey=coldkey, at_least=worth - 2, below=worth + 3)

    def subnets(self) -> None:
        listed = {subnet.netuid: subnet for subnet in self.chain.subnets.all()}
        require(NETUID in listed, f"subnet {NETUID} is not listed")
        require(listed[NETUID].neuron_count >= 6, "the subnet has the genesis neurons")
        require(self.chain.token_symbols.get(NETUID), "the subnet has a symbol")
        tell("subnet", neurons=listed[NETUID].neuron_count)

    def metagraph(self) -> None:
        metagraph = self.chain.subnets.metagraph(NETUID)
        neurons = {neuron.uid: neuron for neuron in self.chain.neurons.all(NETUID)}
        require(len(metagraph.neurons) == len(neurons), "metagraph and neuron list differ in length")
        for neuron in metagraph.neurons:
            other = neurons[neuron.uid]
            require((neuron.hotkey, neuron.coldkey) == (other.hotkey, other.coldkey), "keys of a neuron differ")
            stake = neuron.total_stake.rao
            tell("neuron", uid=neuron.uid, hotkey=neuron.hotkey, coldkey=neuron.coldkey, stake_at_least=stake)
        require(metagraph.neurons[1].hotkey == VALIDATOR.hotkey.ss58_address, "uid 1 is the first validator")
        require(metagraph.neurons[1].total_stake.rao >= 100_000 * TOKEN, "it has its stake")

    def hyperparameters(self) -> None:
        values = self.chain.read("subnet_hyperparameters", netuid=NETUID)
        stored = self.chain.query(("SubtensorModule", "Tempo"), [NETUID])
        require(values["tempo"] == stored, f"tempo {values['tempo']} is not the stored {stored}")
        for name in ("tempo", "immunity_period", "max_validators", "min_allowed_weights", "weights_rate_limit"):
            tell("hyperparameter", name=name, value=values[name])

    # Writes -----------------------------------------------------------------

    def done(self, intent, wallet: DevWallet):
        return self.chain.execute(intent, wallet).raise_for_failure()

    def sudo(self, call) -> None:
        self.chain.submit_call(calls.Sudo.sudo(call=self.chain.compose(call)), ALICE).raise_for_failure()

    def transfer(self) -> None:
        before = self.balance(NOBODY.coldkey)
        self.done(bt.Transfer(dest_ss58=NOBODY.coldkey.ss58_address, amount_tao=7), BOB)
        require(self.balance(NOBODY.coldkey) - before == 7 * TOKEN, "the amount arrived")
        tell("balance", address=NOBODY.coldkey.ss58_address, rao=self.balance(NOBODY.coldkey))

    def uid(self, key: Keypair) -> int | None:
        return self.chain.query(("SubtensorModule", "Uids"), [NETUID, key.ss58_address])

    def register(self, wallet: DevWallet, submit) -> None:
        before = self.balance(wallet.coldkey)
        submit(wallet)
        require(self.uid(wallet.hotkey) is not None, "the hotkey has a uid")
        require(before - self.balance(wallet.coldkey) >= TOKEN // 10, "the price was paid")
        self.tell_neuron(wallet)

    def register_intent(self) -> None:
        self.register(DAVE, lambda wallet: self.done(bt.BurnedRegister(netuid=NETUID), wallet))

    def register_limit(self) -> None:
        call = calls.SubtensorModule.register_limit(
            netuid=NETUID, hotkey=EVE.hotkey.ss58_address, limit_price=1_000 * TOKEN
        )
        self.register(EVE, lambda wallet: self.chain.submit_call(call, wallet).raise_for_failure())

    def stake_of(self, hotkey: Keypair, coldkey: Keypair) -> int:
        return self.chain.staking.get(coldkey.ss58_address, hotkey.ss58_address, NETUID).rao

    def tell_stake(self, **bounds: int) -> None:
        keys = {"hotkey": VALIDATOR.hotkey.ss58_address, "coldkey": BOB.coldkey.ss58_address}
        tell("stake", **keys, **bounds)

    def add_stake(self) -> None:
        before = self.stake_of(VALIDATOR.hotkey, BOB.coldkey)
        stake = bt.AddStake(hotkey_ss58=VALIDATOR.hotkey.ss58_address, netuid=NETUID, amount_tao=50)
        self.done(stake, BOB)
        after = self.stake_of(VALIDATOR.hotkey, BOB.coldkey)
        require(after > before, "the stake grew")
        self.tell_stake(at_least=after)

    def remove_stake(self) -> None:
        before, owned = self.stake_of(VALIDATOR.hotkey, BOB.coldkey), self.balance(BOB.coldkey)
        unstake = bt.RemoveStake(hotkey_ss58=VALIDATOR.hotkey.ss58_address, netuid=NETUID, amount_alpha=20)
        self.done(unstake, BOB)
        after = self.stake_of(VALIDATOR.hotkey, BOB.coldkey)
        require(after < before, "the stake shrank")
        self.tell_stake(at_least=after, below=before)
        require(self.balance(BOB.coldkey) > owned, "its value came back")

    def serve_axon(self) -> None:
        self.done(bt.ServeAxon(netuid=NETUID, ip="127.0.0.2", port=9000), MINER)
        uid = self.uid(MINER.hotkey)
        axon = self.chain.subnets.metagraph(NETUID).neurons[uid].axon
        require(axon == "127.0.0.2:9000", f"the endpoint reads back as {axon}")
        self.tell_neuron(MINER, axon=axon)

    def row(self) -> list[tuple[int, int]]:
        stored = self.chain.query(("SubtensorModule", "Weights"), [NETUID, self.uid(VALIDATOR.hotkey)])
        return sorted((int(uid), int(value)) for uid, value in stored or [])

    def may_set_weights(self) -> None:
        """Waits for a permit and for the end of the rate limit."""
        uid = self.uid(VALIDATOR.hotkey)
        permits = lambda: self.chain.query(("SubtensorModule", "ValidatorPermit"), [NETUID])  # noqa: E731
        mine_until(self.url, "a validator permit", lambda: permits()[uid])
        limit = self.chain.query(("SubtensorModule", "WeightsSetRateLimit"), [NETUID])
        last = lambda: self.chain.query(("SubtensorModule", "LastUpdate"), [NETUID])[uid]  # noqa: E731
        mine_until(self.url, "the end of the rate limit", lambda: self.chain.block - last() >= limit)

    def set_weights(self) -> None:
        self.may_set_weights()
        self.done(bt.SetWeights(netuid=NETUID, weights={0: 0.25, 4: 1.0}), VALIDATOR)
        require(self.row() == [(0, 16_384), (4, U16_MAX)], f"weights read back as {self.row()}")
        self.tell_row()

    def commit_reveal(self, enabled: bool) -> None:
        self.sudo(calls.AdminUtils.sudo_set_commit_reveal_weights_enabled(netuid=NETUID, enabled=enabled))

    def reveal_is_due(self) -> bool:
        if self.profile == "legacy":
            first_block = self.committed[2]
            return self.chain.block >= first_block
        period = int(self.chain.query(("SubtensorModule", "RevealPeriodEpochs"), [NETUID]))
        index = int(self.chain.query(("SubtensorModule", "SubnetEpochIndex"), [NETUID]))
        return index >= self.committed[1] + period

    def commit_weights(self) -> None:
        self.commit_reveal(True)
        self.may_set_weights()
        digest = commit_hash(VALIDATOR.hotkey, [0, 4], [U16_MAX, 32_768], [1, 2, 3], 0)
        call = calls.SubtensorModule.commit_weights(netuid=NETUID, commit_hash="0x" + digest.hex())
        self.chain.submit_call(call, VALIDATOR, signer="hotkey").raise_for_failure()
        stored = self.chain.query(("SubtensorModule", "WeightCommits"), [NETUID, VALIDATOR.hotkey.ss58_address])
        require(stored and len(stored) == 1, f"one commit waits, not {stored}")
        self.committed = stored[0]
        tell("hash", digest=digest.hex())

    def reveal_weights(self) -> None:
        reveal = bt.RevealWeights(netuid=NETUID, uids=[0, 4], weights=[U16_MAX, 32_768], salt=[1, 2, 3])
        with standing_still(self.url):
            mine_until(self.url, "the epoch of the reveal", self.reveal_is_due)
            self.done(reveal, VALIDATOR)
        require(self.row() == [(0, U16_MAX), (4, 32_768)], f"weights read back as {self.row()}")
        self.tell_row()

    def commit_timelocked(self) -> None:
        self.may_set_weights()
        result = self.done(bt.SetWeights(netuid=NETUID, weights={0: 1.0}), VALIDATOR)
        require(result.data.get("reveal_round"), "the reveal's round is told")
        tell("timelock", round=result.data["reveal_round"])
        self.commit_reveal(False)

    # Refusals ---------------------------------------------------------------

    def refused(self, name: str, submit) -> str:
        """The chain refuses, and the client names the refusal."""
        try:
            result = submit()
            error = result.error
        except bt.ChainError as raised:
            error = raised
        require(error is not None, f"{name} was expected, and it was accepted")
        code = getattr(error.code, "value", error.code)
        require(name in (error.name, code) or name in str(error), f"{name} is told as {error.name} ({code}): {error}")
        return f"{error.name or code}"

    def errors(self) -> list[str]:
        address = NOBODY.hotkey.ss58_address
        refusals = {
            "SubnetNotExists": (calls.SubtensorModule.burned_register(netuid=4_000, hotkey=address), BOB, "coldkey"),
            "HotKeyAlreadyRegisteredInSubNet": (
                calls.SubtensorModule.burned_register(netuid=NETUID, hotkey=MINER.hotkey.ss58_address),
                BOB,
                "coldkey",
            ),
            "NotEnoughBalanceToStake": (
                calls.SubtensorModule.burned_register(netuid=NETUID, hotkey=MINER.coldkey.ss58_address),
                DevWallet("//Poor", "//Nobody"),
                "coldkey",
            ),
            "FundsUnavailable": (
                calls.Balances.transfer_keep_alive(dest=address, value=10**14),
                BOB,
                "coldkey",
            ),
            "UidVecContainInvalidOne": (
                calls.SubtensorModule.set_weights(netuid=NETUID, dests=[999], weights=[1], version_key=0),
                VALIDATOR,
                "hotkey",
            ),
        }
        self.done(bt.Transfer(dest_ss58=address, amount_tao=0.05), BOB)
        self.may_set_weights()
        tell("stranger", hotkey=address)
        return [
            self.refused(name, lambda: self.chain.submit_call(call, wallet, signer=signer))
            for name, (call, wallet, signer) in refusals.items()
        ]

    def run(self) -> None:
        operations = (
            ("connect", self.connect),
            ("balances", self.balances),
            ("balance with stake", self.staked_balance),
            ("list subnets", self.subnets),
            ("metagraph", self.metagraph),
            ("hyperparameters", self.hyperparameters),
            ("transfer", self.transfer),
            ("register", self.register_intent),
            ("register with a price limit", self.register_limit),
            ("add stake", self.add_stake),
            ("remove stake", self.remove_stake),
            ("serve axon", self.serve_axon),
            ("set weights", self.set_weights),
            ("errors by name", self.errors),
            ("commit weights (hash)", self.commit_weights),
            ("reveal weights (hash)", self.reveal_weights),
            ("commit weights (timelock)", self.commit_timelocked),
        )
        run(self.url, operations)


if __name__ == "__main__":
    Matrix(*sys.argv[1:]).run()
