//! Whether two logins are one login of one server.
//!
//! A host key does not say that: servers made from one image may share it. The kernel's boot, the root directory and `~/.ssh` together do, for
//! as long as both logins are open: no other server has had this boot, no other container of it this root directory, and no other user of that
//! these key files.

use basilica_ports::{ExitStatus, Shell};
use basilica_types::{Argv, Millis};

use crate::key_editor::{self, KeyEditError};
use crate::onboarding::VisitError;

const SCRIPT: &str = r#"
LC_ALL=C; export LC_ALL
boot=$(cat /proc/sys/kernel/random/boot_id) && root=$(stat -L -c %d:%i /) && keys=$(stat -L -c %d:%i "$HOME/.ssh") || exit 94
printf 'here %s %s %s\n' "$boot" "$root" "$keys"
"#;
const OUTPUT: usize = 4096;

/// Where a login has come to. Equal: to the same key files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    boot: String,
    root: String,
    keys: String,
}

/// Asks the login. `deadline` is for the command.
///
/// # Errors
/// The command could not be run, or did not say.
pub async fn whereabouts(shell: &dyn Shell, deadline: Millis) -> Result<Whereabouts, VisitError> {
    let command = Argv::script(SCRIPT, std::iter::empty::<String>()).map_err(KeyEditError::from)?;
    let output = shell.run(&command, &[], key_editor::limits(deadline, OUTPUT)).await;
    let output = output.map_err(KeyEditError::from)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match (&output.status, parse(&said)) {
        (ExitStatus::Code(0), Some(here)) => Ok(here),
        _ => Err(key_editor::failed("finding out which server and which login this is", output).into()),
    }
}

fn parse(said: &str) -> Option<Whereabouts> {
    // What a noisy start-up file prints comes before.
    let mut words = said.lines().find_map(|line| line.strip_prefix("here "))?.split(' ').map(str::to_owned);
    let here = Whereabouts { boot: words.next()?, root: words.next()?, keys: words.next()? };
    let is_whole = [&here.boot, &here.root, &here.keys].iter().all(|word| !word.is_empty());
    (is_whole && words.next().is_none()).then_some(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_shell::LocalShell;

    #[tokio::test]
    async fn a_login_is_itself_and_no_other() {
        let ask = async |shell: &LocalShell| whereabouts(shell, Millis::from_secs(20)).await.unwrap();
        let (one, other) = (LocalShell::with_file(b"# one\n"), LocalShell::with_file(b"# one\n"));
        assert_eq!(ask(&one).await, ask(&one).await);
        assert_ne!(ask(&one).await, ask(&other).await, "another user of this server");
        for said in ["", "here a b", "here a b ", "here a b c d", "there a b c"] {
            assert_eq!(parse(said), None, "{said:?}");
        }
        assert!(parse("welcome\nhere a b c\n").is_some());
    }
}
