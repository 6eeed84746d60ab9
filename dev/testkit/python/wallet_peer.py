"""The public wallets, asked from outside: open ours, write theirs, sign and verify.

Reads one JSON object from stdin and prints one as its last line. "kind" says who answers:

  sdk     bittensor 11.3.0: opens every wallet of "path" with "password" and writes the keyfile of "mnemonic" in its own
          encrypted form and, with pycryptodome (no SDK writes them any more), in the two older ones; its own reader must
          accept all three before they are handed over. Also obfuscates "password" for the variable "variable".
  sdk10   bittensor-wallet 4.1.1, which comes with bittensor 10.5.0: opens the same wallets.
  sr25519 py-sr25519-bindings 0.2.4: verifies "signatures" and signs "messages" with the key of "seed".

Exits 1 with the peer's own error if it refuses anything. Touches no network.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys

FERNET_SALT = b"Iguesscyborgslikemyselfhaveatendencytobeparanoidaboutourorigins"


def fernet(plain: bytes, password: str) -> bytes:
    """A Fernet token of cryptography's format under the key of the oldest wallets."""
    from Crypto.Cipher import AES
    from Crypto.Util.Padding import pad

    key = hashlib.pbkdf2_hmac("sha256", password.encode(), FERNET_SALT, 10_000_000, 32)
    iv = os.urandom(16)
    text = AES.new(key[16:], AES.MODE_CBC, iv).encrypt(pad(plain, 16))
    signed = b"\x80" + struct.pack(">Q", 1_700_000_000) + iv + text
    return base64.urlsafe_b64encode(signed + hmac.digest(key[:16], signed, "sha256"))


def ansible_vault(plain: bytes, password: str) -> bytes:
    """An Ansible vault 1.1 as ansible-vault lays it out."""
    from Crypto.Cipher import AES
    from Crypto.Util.Padding import pad

    salt = os.urandom(32)
    keys = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 10_000, 80)
    cipher = AES.new(keys[:32], AES.MODE_CTR, nonce=b"", initial_value=keys[64:])
    text = cipher.encrypt(pad(plain, 16))
    tag = hmac.digest(keys[32:64], text, "sha256")
    body = b"\n".join(part.hex().encode() for part in (salt, tag, text)).hex()
    lines = [body[at : at + 80] for at in range(0, len(body), 80)]
    return "\n".join(["$ANSIBLE_VAULT;1.1;AES256", *lines, ""]).encode()


def sdk(ask: dict) -> dict:
    import bittensor_core as core
    from bittensor import wallets
    from bittensor.wallet import Wallet

    password = ask["password"]
    opened = {}
    for listed in wallets.list_wallets_detailed(ask["path"]):
        for hotkey in listed.hotkeys:
            wallet = Wallet(name=listed.name, hotkey=hotkey.name, path=ask["path"])
            keypair = wallet.get_coldkey(password=password)
            opened[listed.name] = {
                "coldkey": keypair.ss58_address,
                "coldkeypub": wallet.coldkeypub.ss58_address,
                "hotkey": wallet.get_hotkey().ss58_address,
                "signature": bytes(keypair.sign(ask["message"].encode())).hex(),
            }
    plain = bytes(core.serialized_keypair_to_keyfile_data(core.Keypair.create_from_mnemonic(ask["mnemonic"])))
    forms = {
        "nacl": bytes(core.encrypt_keyfile_data(plain, password)),
        "ansible-vault": ansible_vault(plain, password),
        "fernet": fernet(plain, password),
    }
    for form, data in forms.items():
        if bytes(core.decrypt_keyfile_data(data, password)) != plain:
            sys.exit(f"the SDK does not read the {form} that was made here")
    core.save_password_to_environment(ask["variable"], password)
    return {
        "opened": opened,
        "forms": {form: data.hex() for form, data in forms.items()},
        "variable": process_variable(ask["variable"]),
    }


def process_variable(name: str) -> str:
    """The variable as the process has it: the SDK sets it behind Python's back."""
    import ctypes

    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    return getenv(name.encode()).decode()


def sdk10(ask: dict) -> dict:
    from bittensor_wallet import Wallet

    opened = {}
    for name in sorted(os.listdir(ask["path"])):
        wallet = Wallet(name=name, hotkey="default", path=ask["path"])
        coldkey = wallet.coldkey_file.get_keypair(password=ask["password"])
        opened[name] = {
            "coldkey": coldkey.ss58_address,
            "coldkeypub": wallet.coldkeypub.ss58_address,
            "hotkey": wallet.hotkey.ss58_address,
        }
    return {"opened": opened}


def bindings(ask: dict) -> dict:
    import sr25519

    public, secret = sr25519.pair_from_seed(bytes.fromhex(ask["seed"]))
    verified = [
        sr25519.verify(bytes.fromhex(signature), bytes.fromhex(message), bytes.fromhex(key))
        for key, message, signature in ask["signatures"]
    ]
    signed = [sr25519.sign((public, secret), bytes.fromhex(message)).hex() for message in ask["messages"]]
    return {"public": public.hex(), "verified": verified, "signed": signed}


def main() -> None:
    ask = json.load(sys.stdin)
    answer = {"sdk": sdk, "sdk10": sdk10, "sr25519": bindings}[ask["kind"]]
    print("\n" + json.dumps(answer(ask)))


if __name__ == "__main__":
    main()
