"""What `btcli` 9 does with a chain: `btcli.py URL PROFILE` tells each operation as a line of JSON (see steps.py).

Runs what the script `btcli` runs, without prompts and with a deadline, on wallet directories of development keys. What a
command did is read from the chain's storage, not from its words. Each command is a process of its own, forked from one
that has imported the program and done nothing else: importing takes longer than most commands.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from async_substrate_interface import SubstrateInterface
from bittensor_cli.cli import main
from bittensor_cli.src.bittensor.extrinsics.root import generate_weight_hash
from bittensor_cli.version import __version_as_int__

from steps import TOKEN, U16_MAX, mine_until, require, run, standing_still, tell, wait_for
from wallets import dev_wallet

NETUID = "39"
# What `btcli` makes of the weights 1.0 and 0.5.
WEIGHTS = [65_535, 32_768]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["bittensor_cli.cli"])
DEADLINE_SECONDS = 120
OUTPUTS = ("stdout", "stderr")
FAILED = "\N{CROSS MARK}"


class CommandFailed(Exception):
    """The command ended with an error, or says in its JSON that it did not succeed."""


class Ran(NamedTuple):
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def start_script(line: list[str], folder: str) -> None:
    """What the script `btcli` does, with its output in files."""
    for descriptor, name in enumerate(OUTPUTS, start=1):
        os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = line
    sys.exit(main())


def told(output: str) -> object:
    """The JSON in what a command printed; it may come after warnings."""
    for start, character in enumerate(output):
        if character in "{[":
            try:
                return json.JSONDecoder(strict=False).raw_decode(output, start)[0]
            except json.JSONDecodeError:
                continue
    return None


def failure(said: str) -> str:
    """The words after the sign by which it marks a failure, or all of them."""
    return " ".join(said.partition(FAILED)[2].split() or said.split())


class Matrix:
    def __init__(self, url: str, profile: str):
        self.url, self.profile = url, profile
        self.wallets = os.path.abspath("wallets")
        self.alice = dev_wallet(self.wallets, "alice", "//Alice", "//Alice")
        self.bob = dev_wallet(self.wallets, "bob", "//BobHot", "//Bob")
        self.charlie = dev_wallet(self.wallets, "charlie", "//CharlieHot", "//Charlie")
        self.dave = dev_wallet(self.wallets, "dave", "//DaveHot", "//Dave")
        self.eve = dev_wallet(self.wallets, "eve", "//EveHot", "//Eve")
        self.nobody = dev_wallet(self.wallets, "nobody", "//Nobody", "//NobodyCold")
        self.validator = dev_wallet(self.wallets, "validator", "//Validator1", "//Validator1Cold")
        self.miner = dev_wallet(self.wallets, "miner", "//Miner1", "//Miner1Cold")

    def run_btcli(self, words: tuple[str, ...], wallet: str | None) -> Ran:
        line = ["btcli", *words, "--network", self.url]
        if wallet:
            line += ["--wallet-name", wallet, "--hotkey", "default", "--wallet-path", self.wallets]
        with tempfile.TemporaryDirectory() as folder:
            command = FORKS.Process(target=start_script, args=(line, folder))
            command.start()
            command.join(DEADLINE_SECONDS)
            if command.exitcode is None:
                command.kill()
                raise CommandFailed(f"it did not end within {DEADLINE_SECONDS} s")
            texts = [Path(folder, name).read_text() for name in OUTPUTS]
        return Ran(command.exitcode, *texts)

    def command(self, *words: str, wallet: str | None = None) -> object:
        """Runs `btcli WORDS`; its JSON."""
        run = self.run_btcli((*words, "--json-output"), wallet)
        answer = told(run.stdout)
        if answer is None:
            # With JSON asked for, it keeps silent about what it did not expect; without, it tells.
            plain = self.run_btcli(words, wallet)
            raise CommandFailed(failure(plain.stdout + plain.stderr))
        if isinstance(answer, dict) and answer.get("error"):
            raise CommandFailed(answer["error"])
        if run.returncode != 0 or (isinstance(answer, dict) and answer.get("success") is False):
            raise CommandFailed(f"exit code {run.returncode}: {answer}")
        return answer

    def write(self, *words: str, wallet: str) -> object:
        return self.command(*words, "--no-prompt", wallet=wallet)

    def plain(self, *words: str, wallet: str) -> None:
        """Runs a command whose `--json-output` is of no use; what it did is read from the chain."""
        run = self.run_btcli((*words, "--no-prompt"), wallet)
        said = run.stdout + run.stderr
        if run.returncode != 0 or FAILED in said:
            raise CommandFailed(failure(said))

    def stored(self, pallet: str, item: str, parameters: list):
        value = self.chain.query(pallet, item, parameters)
        return getattr(value, "value", value)

    def subtensor(self, item: str, *parameters):
        return self.stored("SubtensorModule", item, list(parameters))

    def block(self) -> int:
        return self.chain.get_block_number(self.chain.get_chain_head())

    # Reads ------------------------------------------------------------------

    def connect(self) -> None:
        self.chain = SubstrateInterface(self.url, ss58_format=42)
        first = self.block()
        wait_for("a new block", 20, lambda: self.block() > first)
        tell("chain", head=self.block())

    def subnet_cost(self) -> None:
        answer = self.command("subnets", "burn-cost")
        tell("state_call", method="SubnetRegistrationRuntimeApi_get_network_registration_cost", u64=answer["burn_cost"]["rao"])

    def free(self, address: str) -> int:
        return self.stored("System", "Account", [address])["data"]["free"]

    def balances(self) -> None:
        address = self.charlie.coldkeypub.ss58_address
        answer = self.command("wallet", "balance", wallet="charlie")
        seen = answer["balances"]["charlie"]
        require(round(seen["free"] * TOKEN) == self.free(address), f"the balance is told as {seen}")
        tell("balance", address=address, rao=round(seen["free"] * TOKEN))

    def staked_balance(self) -> None:
        seen = self.command("wallet", "balance", wallet="validator")["balances"]["validator"]
        require(round(seen["total"] * TOKEN) == round((seen["free"] + seen["staked"]) * TOKEN), f"the sum of {seen}")
        tell("balance", address=seen["coldkey"], rao=round(seen["free"] * TOKEN))
        # It counts in floats.
        worth = round(seen["staked"] * TOKEN)
        keys = {"hotkey": self.validator.hotkey.ss58_address, "coldkey": seen["coldkey"]}
        tell("worth", **keys, at_least=worth - 2, below=worth + 3)

    def subnets(self) -> None:
        answer = self.command("subnets", "list")
        require(NETUID in answer["subnets"], f"subnet {NETUID} is not in {answer}")
        tell("hyperparameter", name="tempo", value=answer["subnets"][NETUID]["tempo"]["sn_tempo"])

    def metagraph(self) -> None:
        answer = self.command("subnets", "show", "--netuid", NETUID, "--no-prompt")
        uids = {neuron["uid"]: neuron for neuron in answer["uids"]}
        require(uids[1]["hotkey"] == self.validator.hotkey.ss58_address, "uid 1 is the first validator")
        require(uids[1]["stake"] >= 100_000, f"it has its stake, not {uids[1]['stake']}")
        for uid, neuron in uids.items():
            tell("neuron", uid=uid, hotkey=neuron["hotkey"], coldkey=neuron["coldkey"])
        tell("subnet", neurons=len(uids))

    def hyperparameters(self) -> None:
        answer = self.command("subnets", "hyperparameters", "--netuid", NETUID)
        values = {line["hyperparameter"]: line["value"] for line in answer}
        require(values["tempo"] == self.subtensor("Tempo", int(NETUID)), f"tempo is told as {values['tempo']}")
        for name in ("tempo", "immunity_period", "max_validators", "min_allowed_weights", "weights_rate_limit"):
            tell("hyperparameter", name=name, value=values[name])

    # Writes -----------------------------------------------------------------

    def transfer(self) -> None:
        address = self.nobody.coldkeypub.ss58_address
        before = self.free(address)
        self.write("wallet", "transfer", "--destination", address, "--amount", "7", wallet="bob")
        require(self.free(address) - before == 7 * TOKEN, "the amount arrived")
        tell("balance", address=address, rao=self.free(address))

    def uid(self, wallet) -> int | None:
        return self.subtensor("Uids", int(NETUID), wallet.hotkey.ss58_address)

    def tell_neuron(self, wallet, **values) -> None:
        keys = {"hotkey": wallet.hotkey.ss58_address, "coldkey": wallet.coldkeypub.ss58_address}
        tell("neuron", uid=self.uid(wallet), **keys, **values)

    def registered(self, name: str, wallet, *flags: str) -> None:
        before = self.free(wallet.coldkeypub.ss58_address)
        self.write("subnets", "register", "--netuid", NETUID, *flags, wallet=name)
        require(self.uid(wallet) is not None, "the hotkey has a uid")
        require(before - self.free(wallet.coldkeypub.ss58_address) >= TOKEN // 10, "the price was paid")
        self.tell_neuron(wallet)

    def register(self) -> None:
        self.registered("charlie", self.charlie, "--unsafe-register")

    def register_limit(self) -> None:
        self.registered("eve", self.eve, "--safe-register", "--tolerance", "0.05")

    def stake(self) -> int:
        rows = self.chain.runtime_call(
            "StakeInfoRuntimeApi",
            "get_stake_info_for_hotkey_coldkey_netuid",
            [self.validator.hotkey.ss58_address, self.bob.coldkeypub.ss58_address, int(NETUID)],
        )
        value = getattr(rows, "value", rows)
        return value["stake"] if value else 0

    def tell_stake(self, **bounds: int) -> None:
        keys = {"hotkey": self.validator.hotkey.ss58_address, "coldkey": self.bob.coldkeypub.ss58_address}
        tell("stake", **keys, **bounds)

    def staking(self, verb: str, *flags: str) -> None:
        hotkey = self.validator.hotkey.ss58_address
        self.write("stake", verb, *flags, "--hotkey-ss58-address", hotkey, "--netuid", NETUID, wallet="bob")

    def add_stake(self) -> None:
        before = self.stake()
        self.staking("add", "--amount", "50", "--unsafe", "--no-mev-protection")
        after = self.stake()
        require(after > before, "the stake grew")
        self.tell_stake(at_least=after)

    def add_stake_shielded(self) -> None:
        before = self.stake()
        self.staking("add", "--amount", "50", "--safe", "--tolerance", "0.1", "--no-partial", "--mev-protection")
        after = self.stake()
        require(after > before, "the stake grew")
        self.tell_stake(at_least=after)

    def remove_stake(self) -> None:
        before, owned = self.stake(), self.free(self.bob.coldkeypub.ss58_address)
        self.staking("remove", "--amount", "20", "--unsafe", "--no-mev-protection")
        after = self.stake()
        require(after < before, "the stake shrank")
        self.tell_stake(at_least=after, below=before)
        require(self.free(self.bob.coldkeypub.ss58_address) > owned, "its value came back")

    def serve_axon(self) -> None:
        self.plain("axon", "set", "--netuid", NETUID, "--ip", "127.0.0.2", "--port", "9000", wallet="miner")
        axon = self.subtensor("Axons", int(NETUID), self.miner.hotkey.ss58_address)
        require((axon["ip"], axon["port"]) == (0x7F00_0002, 9000), f"the endpoint is stored as {axon}")
        self.tell_neuron(self.miner, axon="127.0.0.2:9000")

    def substrate(self, pallet: str, call: str, parameters: dict, key, sudo: bool = False) -> None:
        """What `btcli` has no command for, sent by the library beneath it."""
        composed = self.chain.compose_call(pallet, call, parameters)
        if sudo:
            composed = self.chain.compose_call("Sudo", "sudo", {"call": composed})
        extrinsic = self.chain.create_signed_extrinsic(composed, key)
        receipt = self.chain.submit_extrinsic(extrinsic, wait_for_inclusion=True)
        require(receipt.is_success, f"{pallet}.{call} failed: {receipt.error_message}")

    def may_set_weights(self) -> None:
        """Makes blocks until there is a permit and the rate limit is over."""
        uid, netuid = self.uid(self.validator), int(NETUID)
        mine_until(self.url, "a validator permit", lambda: self.subtensor("ValidatorPermit", netuid)[uid])
        limit = self.subtensor("WeightsSetRateLimit", netuid)
        last = lambda: self.subtensor("LastUpdate", netuid)[uid]  # noqa: E731
        mine_until(self.url, "the end of the rate limit", lambda: self.block() - last() >= limit)

    def weights(self, verb: str) -> None:
        words = ("weights", verb, "--netuid", NETUID, "--uids", "0,4", "--weights", "1.0,0.5", "--salt", "1,2,3")
        self.write(*words, wallet="validator")

    def commit_weights(self) -> None:
        self.may_set_weights()
        self.weights("commit")

    def reveal_is_due(self, commit: list) -> bool:
        if self.profile == "legacy":
            first_block = commit[2]
            return self.block() >= first_block
        period = self.subtensor("RevealPeriodEpochs", int(NETUID))
        return self.subtensor("SubnetEpochIndex", int(NETUID)) >= commit[1] + period

    def reveal_weights(self) -> None:
        switch = {"netuid": int(NETUID), "enabled": True}
        self.substrate("AdminUtils", "sudo_set_commit_reveal_weights_enabled", switch, self.alice.coldkey, sudo=True)
        self.may_set_weights()
        hotkey = self.validator.hotkey
        digest = generate_weight_hash(
            address=hotkey.ss58_address,
            netuid=int(NETUID),
            uids=[0, 4],
            values=WEIGHTS,
            salt=[1, 2, 3],
            version_key=__version_as_int__,
        )
        self.substrate("SubtensorModule", "commit_weights", {"netuid": int(NETUID), "commit_hash": digest}, hotkey)
        stored = self.subtensor("WeightCommits", int(NETUID), hotkey.ss58_address)
        require(stored and len(stored) == 1, f"one commit waits, not {stored}")
        row = lambda: sorted(self.subtensor("Weights", int(NETUID), self.uid(self.validator)))  # noqa: E731
        expected = list(zip([0, 4], WEIGHTS))
        with standing_still(self.url):
            mine_until(self.url, "the epoch of the reveal", lambda: self.reveal_is_due(stored[0]))
            self.weights("reveal")
            # The command does not wait for its block.
            wait_for("the reveal", 10, lambda: row() == expected)
        tell("weights", uid=self.uid(self.validator), row=row())

    # Refusals ---------------------------------------------------------------

    def refused(self, name: str, submit) -> str:
        try:
            submit()
        except CommandFailed as error:
            require(name in str(error), f"{name} is told as {error}")
            return name
        require(False, f"{name} was expected, and it was accepted")
        return ""

    def errors(self) -> list[str]:
        closed = {"netuid": int(NETUID), "registration_allowed": False}
        self.substrate("AdminUtils", "sudo_set_network_registration_allowed", closed, self.alice.coldkey, sudo=True)
        register = ("subnets", "register", "--netuid", NETUID, "--unsafe-register")
        tell("stranger", hotkey=self.dave.hotkey.ss58_address)
        # Its JSON says in words of its own why a registration failed; what it prints has the error's name.
        return [
            self.refused("SubNetRegistrationDisabled", lambda: self.plain(*register, wallet="dave")),
        ]

    def run(self) -> None:
        operations = (
            ("connect", self.connect),
            ("cost of a subnet", self.subnet_cost),
            ("balances", self.balances),
            ("balance with stake", self.staked_balance),
            ("list subnets", self.subnets),
            ("metagraph", self.metagraph),
            ("hyperparameters", self.hyperparameters),
            ("transfer", self.transfer),
            ("register", self.register),
            ("register with a price limit", self.register_limit),
            ("add stake", self.add_stake),
            ("add stake, shielded", self.add_stake_shielded),
            ("remove stake", self.remove_stake),
            ("serve axon", self.serve_axon),
            ("errors by name", self.errors),
            ("commit weights (hash)", self.commit_weights),
            ("reveal weights (hash)", self.reveal_weights),
        )
        run(self.url, operations)
        # Its reader would keep the process alive.
        self.chain.close()


if __name__ == "__main__":
    Matrix(*sys.argv[1:]).run()
