"""The public SDK's timelock, asked from outside: opens our envelopes, seals its own, and chooses reveal rounds.

Reads one JSON object from stdin and prints one: for "open" (hex envelopes) the plaintexts by "signature", for "seal" (hex
plaintexts) envelopes for round "round", for "clocks" (epoch clocks) the reveal round, the length of the ciphertext and the
wall clock in milliseconds before and after the choice. Exits 1 with the SDK's own error if it refuses anything.

Needs bittensor-core==0.1.5 (it comes with bittensor==11.3.0). Touches no network.
"""

import json
import math
import sys
import time

import bittensor_core


def choose(clock: dict) -> dict:
    before = time.time()
    ciphertext, chosen = bittensor_core.get_encrypted_commit_v2(
        uids=clock["uids"],
        weights=clock["values"],
        version_key=clock["version_key"],
        last_epoch_block=clock["last_epoch_block"],
        pending_epoch_at=clock["pending_epoch_at"],
        subnet_epoch_index=clock["epoch_index"],
        tempo=clock["tempo"],
        blocks_since_last_step=clock["blocks_since_last_step"],
        current_block=clock["head"],
        subnet_reveal_period_epochs=clock["reveal_period"],
        block_time=clock["block_time_ms"] / 1000,
        hotkey=bytes.fromhex(clock["hotkey"]),
    )
    after = time.time()
    return {
        "round": chosen,
        "length": len(ciphertext),
        "before_ms": math.floor(before * 1000),
        "after_ms": math.ceil(after * 1000),
    }


def main() -> None:
    ask = json.load(sys.stdin)
    opened = [
        bytes(bittensor_core.decrypt_with_signature(bytes.fromhex(envelope), ask["signature"])).hex()
        for envelope in ask["open"]
    ]
    sealed = []
    for plaintext in ask["seal"]:
        envelope, chosen = bittensor_core.encrypt_at_round(bytes.fromhex(plaintext), ask["round"])
        if chosen != ask["round"]:
            sys.exit(f"asked for round {ask['round']}, got {chosen}")
        sealed.append(bytes(envelope).hex())
    json.dump({"opened": opened, "sealed": sealed, "chosen": [choose(c) for c in ask["clocks"]]}, sys.stdout)


if __name__ == "__main__":
    main()
