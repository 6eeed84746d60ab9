"""What `bittensor` 10 does with a chain: `sdk10.py URL PROFILE` tells each operation as a line of JSON (see steps.py).

The keys are the development chain's: //Alice has sudo, //Validator1 a permit, //Bob only tokens. Everything is sent
in the clear, which is this version's default.
"""

from __future__ import annotations

import os
import sys

import bittensor as bt
from bittensor.core.types import ExtrinsicResponse
from bittensor.utils.balance import Balance

from steps import TOKEN, U16_MAX, Mismatch, mine_until, require, run, standing_still, tell, wait_for
from wallets import dev_wallet

NETUID = 39


class Matrix:
    def __init__(self, url: str, profile: str):
        self.url, self.profile = url, profile
        wallets = os.path.abspath("wallets")
        self.alice = dev_wallet(wallets, "alice", "//Alice", "//Alice")
        self.bob = dev_wallet(wallets, "bob", "//BobHot", "//Bob")
        self.charlie = dev_wallet(wallets, "charlie", "//CharlieHot", "//Charlie")
        self.dave = dev_wallet(wallets, "dave", "//DaveHot", "//Dave")
        self.validator = dev_wallet(wallets, "validator", "//Validator1", "//Validator1Cold")
        self.miner = dev_wallet(wallets, "miner", "//Miner1", "//Miner1Cold")
        self.nobody = dev_wallet(wallets, "nobody", "//Nobody", "//NobodyCold")

    def connect(self) -> dict:
        self.chain = bt.Subtensor(self.url)
        first = self.chain.block
        wait_for("a new block", 20, lambda: self.chain.block > first)
        version = self.chain.substrate.get_block_runtime_version(self.chain.substrate.get_chain_head())
        tell("chain", spec_version=version["specVersion"], head=self.chain.block)
        return {"spec_version": version["specVersion"]}

    def tell_neuron(self, wallet, **values) -> None:
        keys = {"hotkey": wallet.hotkey.ss58_address, "coldkey": wallet.coldkeypub.ss58_address}
        tell("neuron", uid=self.uid(wallet), **keys, **values)

    def tell_row(self) -> None:
        tell("weights", uid=self.uid(self.validator), row=self.row())

    def stored(self, item: str, parameters: list):
        value = self.chain.substrate.query("SubtensorModule", item, parameters)
        return getattr(value, "value", value)

    # Reads ------------------------------------------------------------------

    def balance(self, address: str) -> int:
        return self.chain.get_balance(address).rao

    def balances(self) -> None:
        address = self.dave.coldkeypub.ss58_address
        require(self.balance(address) == 10_000 * TOKEN, "a development account has 10,000 tokens")
        several = self.chain.get_balances(address, self.alice.coldkeypub.ss58_address)
        require(several[address].rao == 10_000 * TOKEN, "two ways of reading a balance differ")
        tell("balance", address=address, rao=self.balance(address))

    def staked_balance(self) -> None:
        coldkey = self.validator.coldkeypub.ss58_address
        [stake] = self.chain.get_stake_info_for_coldkey(coldkey)
        worth = self.chain.subnet(stake.netuid).alpha_to_tao(stake.stake)
        require(worth.rao >= 100_000 * TOKEN, f"its stake is worth {worth}")
        tell("balance", address=coldkey, rao=self.balance(coldkey))
        # It counts in floats.
        bounds = {"at_least": worth.rao - 2, "below": worth.rao + 3}
        tell("worth", hotkey=stake.hotkey_ss58, coldkey=coldkey, **bounds)

    def subnets(self) -> None:
        require(NETUID in self.chain.get_all_subnets_netuid(), f"subnet {NETUID} is not listed")
        listed = {subnet.netuid: subnet for subnet in self.chain.all_subnets()}
        require(NETUID in listed, f"subnet {NETUID} has no dynamic information")
        require(listed[NETUID].tempo == self.stored("Tempo", [NETUID]), "tempo is not the stored one")
        require(listed[NETUID].price.rao > 0, "the subnet has a price")
        tell("hyperparameter", name="tempo", value=listed[NETUID].tempo)

    def metagraph(self) -> None:
        metagraph = self.chain.metagraph(NETUID)
        neurons = {neuron.uid: neuron for neuron in self.chain.neurons_lite(NETUID)}
        require(len(metagraph.hotkeys) == len(neurons) >= 6, "metagraph and neuron list differ in length")
        for uid, neuron in neurons.items():
            require(metagraph.hotkeys[uid] == neuron.hotkey, "keys of a neuron differ")
            tell("neuron", uid=uid, hotkey=neuron.hotkey, coldkey=neuron.coldkey)
        tell("subnet", neurons=len(neurons))
        require(metagraph.hotkeys[1] == self.validator.hotkey.ss58_address, "uid 1 is the first validator")
        require(metagraph.S[1] >= 100_000, f"it has its stake, not {metagraph.S[1]}")

    def hyperparameters(self) -> None:
        values = self.chain.get_subnet_hyperparameters(NETUID)
        require(values is not None, "the subnet has hyperparameters")
        require(values.tempo == self.stored("Tempo", [NETUID]), "tempo is not the stored one")
        for name in ("tempo", "immunity_period", "max_validators", "min_allowed_weights", "weights_rate_limit"):
            tell("hyperparameter", name=name, value=getattr(values, name))

    # Writes -----------------------------------------------------------------

    def done(self, response: ExtrinsicResponse) -> ExtrinsicResponse:
        if not response.success:
            raise response.error or Mismatch(response.message)
        return response

    def sudo(self, call) -> None:
        wrapped = self.chain.compose_call("Sudo", "sudo", {"call": call})
        self.done(self.chain.sign_and_send_extrinsic(wrapped, self.alice))

    def transfer(self) -> None:
        address = self.nobody.coldkeypub.ss58_address
        before = self.balance(address)
        self.done(self.chain.transfer(self.bob, address, Balance.from_tao(7)))
        require(self.balance(address) - before == 7 * TOKEN, "the amount arrived")
        tell("balance", address=address, rao=self.balance(address))

    def uid(self, wallet) -> int | None:
        return self.chain.get_uid_for_hotkey_on_subnet(wallet.hotkey.ss58_address, NETUID)

    def registered(self, wallet, submit) -> None:
        before = self.balance(wallet.coldkeypub.ss58_address)
        self.done(submit(wallet, NETUID))
        require(self.uid(wallet) is not None, "the hotkey has a uid")
        require(before - self.balance(wallet.coldkeypub.ss58_address) >= TOKEN // 10, "the price was paid")
        self.tell_neuron(wallet)

    def register(self) -> None:
        self.registered(self.bob, self.chain.burned_register)

    def register_limit(self) -> None:
        self.registered(self.charlie, self.chain.register)

    def register_shielded(self) -> None:
        shielded = lambda wallet, netuid: self.chain.burned_register(wallet, netuid, mev_protection=True)  # noqa: E731
        self.registered(self.dave, shielded)

    def stake(self) -> int:
        stake = self.chain.get_stake(self.bob.coldkeypub.ss58_address, self.validator.hotkey.ss58_address, NETUID)
        return stake.rao

    def tell_stake(self, **bounds: int) -> None:
        keys = {"hotkey": self.validator.hotkey.ss58_address, "coldkey": self.bob.coldkeypub.ss58_address}
        tell("stake", **keys, **bounds)

    def add_stake(self) -> None:
        before = self.stake()
        self.done(self.chain.add_stake(self.bob, NETUID, self.validator.hotkey.ss58_address, Balance.from_tao(50)))
        after = self.stake()
        require(after > before, "the stake grew")
        self.tell_stake(at_least=after)

    def remove_stake(self) -> None:
        before = self.stake()
        amount = Balance.from_tao(20).set_unit(NETUID)
        self.done(self.chain.unstake(self.bob, NETUID, self.validator.hotkey.ss58_address, amount))
        after = self.stake()
        require(after < before, "the stake shrank")
        self.tell_stake(at_least=after, below=before)

    def serve_axon(self) -> None:
        axon = bt.Axon(wallet=self.miner, ip="127.0.0.1", port=9000, external_ip="127.0.0.2", external_port=9000)
        self.done(self.chain.serve_axon(NETUID, axon))
        read = self.chain.neurons_lite(NETUID)[self.uid(self.miner)].axon_info
        require((read.ip, read.port) == ("127.0.0.2", 9000), f"the endpoint reads back as {read.ip}:{read.port}")
        self.tell_neuron(self.miner, axon=f"{read.ip}:{read.port}")

    def row(self) -> list[tuple[int, int]]:
        rows = dict(self.chain.weights(NETUID))
        return sorted(rows.get(self.uid(self.validator), []))

    def may_set_weights(self) -> None:
        """Waits for a permit and for the end of the rate limit, which this version counts one block longer."""
        uid = self.uid(self.validator)
        permit = lambda: self.chain.neurons_lite(NETUID)[uid].validator_permit  # noqa: E731
        mine_until(self.url, "a validator permit", permit)
        limit = self.chain.weights_rate_limit(NETUID)
        elapsed = lambda: self.chain.blocks_since_last_update(NETUID, uid)  # noqa: E731
        mine_until(self.url, "the end of the rate limit", lambda: elapsed() > limit)

    def set_weights(self) -> None:
        self.may_set_weights()
        self.done(self.chain.set_weights(self.validator, NETUID, [0, 4], [0.25, 1.0], raise_error=True))
        require(self.row() == [(0, 16_384), (4, U16_MAX)], f"weights read back as {self.row()}")
        self.tell_row()

    def commit_reveal(self, enabled: bool) -> None:
        parameters = {"netuid": NETUID, "enabled": enabled}
        self.sudo(self.chain.compose_call("AdminUtils", "sudo_set_commit_reveal_weights_enabled", parameters))

    def commit_weights(self) -> None:
        self.commit_reveal(True)
        self.may_set_weights()
        committed = self.chain.commit_weights(
            self.validator,
            NETUID,
            salt=[1, 2, 3],
            uids=[0, 4],
            weights=[U16_MAX, 32_768],
            wait_for_inclusion=True,
            wait_for_finalization=True,
        )
        self.done(committed)
        stored = self.stored("WeightCommits", [NETUID, self.validator.hotkey.ss58_address])
        require(stored and len(stored) == 1, f"one commit waits, not {stored}")
        self.committed = stored[0]
        tell("hash", digest=str(stored[0][0]).removeprefix("0x"))

    def reveal_is_due(self) -> bool:
        if self.profile == "legacy":
            first_block = self.committed[2]
            return self.chain.block >= first_block
        period = self.chain.get_subnet_reveal_period_epochs(NETUID)
        return self.stored("SubnetEpochIndex", [NETUID]) >= self.committed[1] + period

    def reveal_weights(self) -> None:
        with standing_still(self.url):
            mine_until(self.url, "the epoch of the reveal", self.reveal_is_due)
            revealed = self.chain.reveal_weights(
                self.validator, NETUID, uids=[0, 4], weights=[U16_MAX, 32_768], salt=[1, 2, 3], raise_error=True
            )
            self.done(revealed)
        require(self.row() == [(0, U16_MAX), (4, 32_768)], f"weights read back as {self.row()}")
        self.tell_row()

    def commit_timelocked(self) -> None:
        self.may_set_weights()
        block_time = self.chain.substrate.get_constant("Aura", "SlotDuration")
        seconds = getattr(block_time, "value", block_time) / 1_000
        self.done(self.chain.set_weights(self.validator, NETUID, [0], [1.0], block_time=seconds, raise_error=True))
        commits = self.chain.substrate.query_map("SubtensorModule", "TimelockedWeightCommits", [NETUID])
        rounds = [commit[3] for _, queue in commits for commit in getattr(queue, "value", queue)]
        require(len(rounds) == 1, f"one commit waits, not {rounds}")
        tell("timelock", round=int(rounds[0]))
        self.commit_reveal(False)

    # Refusals ---------------------------------------------------------------

    def refused(self, name: str, call, wallet, signer: str) -> str:
        """The chain refuses, and the client names the refusal."""
        response = self.chain.sign_and_send_extrinsic(call, wallet, sign_with=signer)
        require(not response.success, f"{name} was expected, and it was accepted")
        told = f"{type(response.error).__name__} {response.message}"
        require(name in told, f"{name} is told as {told}")
        return name

    def errors(self) -> list[str]:
        module, address = "SubtensorModule", self.nobody.hotkey.ss58_address
        miner = self.miner.hotkey.ss58_address
        refusals = (
            ("SubnetNotExists", module, "burned_register", {"netuid": 4_000, "hotkey": address}, self.bob, "coldkey"),
            ("HotKeyAlreadyRegisteredInSubNet", module, "burned_register", {"netuid": NETUID, "hotkey": miner}, self.bob, "coldkey"),
            ("FundsUnavailable", "Balances", "transfer_keep_alive", {"dest": address, "value": 10**14}, self.bob, "coldkey"),
            ("UidVecContainInvalidOne", module, "set_weights", {"netuid": NETUID, "dests": [999], "weights": [1], "version_key": 0}, self.validator, "hotkey"),
        )
        self.may_set_weights()
        tell("stranger", hotkey=address)
        return [
            self.refused(name, self.chain.compose_call(pallet, function, parameters), wallet, signer)
            for name, pallet, function, parameters, wallet, signer in refusals
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
            ("register", self.register),
            ("register with a price limit", self.register_limit),
            ("register, shielded", self.register_shielded),
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
