//! What is run on nodes. Constant scripts; values are arguments and never become code (decision D9).

use basilica_types::{Argv, Digest};

use crate::prover::ProverFile;

/// Exit code of the node's gate when the session's key has run out (RULES R9).
pub(crate) const GATE_CLOSED: u32 = 97;
/// The prover is not there or does not have its hash.
pub(crate) const PROVER_MISSING: u32 = 66;

/// Writes standard input to the prover's place: beside it first, then renamed, if its hash is right.
const UPLOAD: &str = r#"set -eu
umask 077
dir="$HOME/.cache/basilica"
mkdir -p "$dir"
new=$(mktemp "$dir/.upload.XXXXXXXX")
trap 'rm -f "$new"' EXIT HUP INT TERM
cat >"$new"
sum=$(sha256sum <"$new")
[ "${sum%% *}" = "$2" ] || exit 65
chmod 700 "$new"
mv -f "$new" "$dir/prover-$1""#;

/// Runs the prover if its file has the hash, and nothing else otherwise; one script for each of its verbs.
macro_rules! run_prover {
    ($verb:literal) => {
        concat!(
            "file=\"$HOME/.cache/basilica/prover-$1\"\n",
            "[ -x \"$file\" ] || exit 66\n",
            "sum=$(sha256sum <\"$file\") || exit 66\n",
            "[ \"${sum%% *}\" = \"$2\" ] || exit 66\n",
            "exec \"$file\" ",
            $verb
        )
    };
}

const CLAIMS: &str = run_prover!("claims");
const PROVE: &str = run_prover!("prove --expect-hash \"$1\"");
const STREAM: &str = run_prover!("stream");

/// Prints the nonce.
pub(crate) fn echo(nonce: &[u8; 32]) -> Argv {
    Argv::new(["echo".to_owned(), Digest::from_bytes(*nonce).to_string()])
        .expect("a word and hex digits are a command")
}

/// Puts the prover on the node; its bytes are the command's input.
pub(crate) fn upload(prover: &ProverFile) -> Argv {
    script(UPLOAD, prover)
}

/// Lists the node's devices.
pub(crate) fn claims(prover: &ProverFile) -> Argv {
    script(CLAIMS, prover)
}

/// Answers a challenge on its standard streams.
pub(crate) fn prove(prover: &ProverFile) -> Argv {
    script(PROVE, prover)
}

/// Sends the bytes that it is asked for on its standard input.
pub(crate) fn stream(prover: &ProverFile) -> Argv {
    script(STREAM, prover)
}

fn script(text: &'static str, prover: &ProverFile) -> Argv {
    let hashes = [prover.name().to_string(), prover.checksum().to_string()];
    Argv::script(text, hashes).expect("a constant and two hashes fit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// Runs a command as sshd would, in a home of its own.
    fn run(home: &std::path::Path, argv: &Argv, input: &[u8]) -> (Option<i32>, Vec<u8>) {
        let mut child = Command::new("sh")
            .args(["-c", &argv.to_command_line()])
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), output.stdout)
    }

    #[test]
    fn the_prover_runs_only_with_its_hash_and_is_replaced_when_altered() {
        let home = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\necho \"$@\"\n".to_vec();
        let prover = ProverFile::new(program.clone());
        let missing = i32::try_from(PROVER_MISSING).unwrap();
        assert_eq!(run(home.path(), &claims(&prover), b"").0, Some(missing));
        assert_eq!(run(home.path(), &upload(&prover), &program).0, Some(0));
        assert_eq!(run(home.path(), &claims(&prover), b""), (Some(0), b"claims\n".to_vec()));
        let expected = format!("prove --expect-hash {}\n", prover.name());
        assert_eq!(run(home.path(), &prove(&prover), b""), (Some(0), expected.into_bytes()));
        let file = home.path().join(format!(".cache/basilica/prover-{}", prover.name()));
        std::fs::write(&file, b"#!/bin/sh\necho forged\n").unwrap();
        assert_eq!(run(home.path(), &claims(&prover), b"").0, Some(missing));
        assert_eq!(run(home.path(), &upload(&prover), &program).0, Some(0));
        assert_eq!(run(home.path(), &claims(&prover), b"").0, Some(0));
    }

    #[test]
    fn a_torn_upload_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let prover = ProverFile::new(b"#!/bin/sh\n".to_vec());
        assert_eq!(run(home.path(), &upload(&prover), b"#!/bin").0, Some(65));
        let left = std::fs::read_dir(home.path().join(".cache/basilica")).unwrap().count();
        assert_eq!(left, 0);
    }
}
