"""Wallet directories of development keys, made with `bittensor-wallet`: plain files, for keys that are public anyway."""

from __future__ import annotations

from bittensor_wallet import Wallet


def dev_wallet(path: str, name: str, hotkey_uri: str, coldkey_uri: str) -> Wallet:
    wallet = Wallet(name=name, hotkey="default", path=path)
    wallet.create_coldkey_from_uri(coldkey_uri, use_password=False, overwrite=True, suppress=True)
    wallet.create_hotkey_from_uri(hotkey_uri, use_password=False, overwrite=True, suppress=True)
    return wallet
