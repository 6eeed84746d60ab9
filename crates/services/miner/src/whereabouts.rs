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
    // What a noisy start-up file prints comes before, and may begin alike.
    let line = said.lines().rfind(|line| line.starts_with("here "))?;
    let [_, boot, root, keys] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let is_whole = is_boot(boot) && is_file(root) && is_file(keys);
    is_whole.then(|| Whereabouts { boot: boot.to_owned(), root: root.to_owned(), keys: keys.to_owned() })
}

/// A UUID, as the kernel writes it.
fn is_boot(word: &str) -> bool {
    let lengths = word.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// A device and an inode.
fn is_file(word: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once(':').is_some_and(|(device, inode)| is_number(device) && is_number(inode))
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
        let boot = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
        let whole = format!("here {boot} 1:2 3:4");
        let bad =
            ["", "here a b c", "here be dragons ahead", &format!("here {boot} 1:2 "), &format!("t{whole}")];
        for said in bad.into_iter().chain([
            &*format!("{whole} 5"),
            &format!("here {boot}0 1:2 3:4"),
            &whole.replace(":4", ":"),
        ]) {
            assert_eq!(parse(said), None, "{said:?}");
        }
        let here = parse(&format!("here be dragons ahead\n{whole}\n")).unwrap();
        assert_eq!(here, Whereabouts { boot: boot.into(), root: "1:2".into(), keys: "3:4".into() });
    }
}
