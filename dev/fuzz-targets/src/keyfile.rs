//! Keyfiles of wallets, which other programs write. Encrypted ones are told apart; behind the password is the cipher.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use basilica_wallet::{NoPassword, Wallets};
use tempfile::NamedTempFile;

use crate::vectors;

thread_local! {
    // Of mode 0600, as a keyfile must be.
    static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a temporary file"));
}

pub(crate) fn run(bytes: &[u8]) {
    FILE.with_borrow_mut(|file| {
        let open: &mut File = file.as_file_mut();
        open.set_len(0).and_then(|()| open.seek(SeekFrom::Start(0))).expect("the file is ours");
        open.write_all(bytes).expect("the disk has room");
        let Ok(secret) = Wallets::read_keyfile(file.path(), &NoPassword) else { return };
        let hotkey = secret.keypair().hotkey();
        assert_eq!(hotkey.to_string().parse(), Ok(hotkey));
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vectors::keyfiles()
}
