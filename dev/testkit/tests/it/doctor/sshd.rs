//! `doctor --fix-sshd` before real sshds: the settings are kept after a new login and after nothing else, and the commands that the doctor names
//! instead do the same.

use basilica_doctor_service::{Finding, judge};
use basilica_testkit::eventually_async;
use basilica_types::Millis;

use super::cases::{Case, Heals, Other};
use super::world::World;
use super::wrong;

const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-basilica.conf";
/// Somebody's own line in our file stays.
const OWN: &str = "LoginGraceTime 50\n";
const SESSIONS: &str = "sshd-max-sessions";
/// Hidden behind the other, which is worse.
const STARTUPS: &str = "sshd-max-startups";

/// A host whose sshd allows little, and reads further files first, as distributions' does; what else is done there.
const fn tight(name: &'static str, script: &'static str) -> Case {
    Case {
        name,
        script,
        sshd: "MaxSessions 1\nMaxStartups 2:50:10",
        user: "root",
        other: Other::None,
        expected: &[SESSIONS],
        heals: Heals::Yes,
    }
}

/// Before whatever else is done on a host.
const INCLUDES: &str = r"
config=/etc/ssh/basilica_sshd_config
sed -i '/^MaxStartups/d; /^MaxSessions/d; 1i Include /etc/ssh/sshd_config.d/*.conf' $config
mkdir -p /etc/ssh/sshd_config.d
rm -f /etc/ssh/sshd_config.d/*
";

async fn world_of(case: &Case) -> World {
    let mut world = World::start_with(&[case.name]).await;
    world.run(case.name, INCLUDES).await;
    world.break_host(case).await;
    world
}

async fn found(world: &World, case: &Case) -> Vec<Finding> {
    judge(&world.look(case).await)
}

/// Waits on the node until something holds, then until our setting is gone again, and does something.
fn once_it_is_taken_back(holds: &str, then: &str) -> String {
    format!(
        "(until {holds}; do sleep 0.05; done
          while [ -e {DROP_IN} ] && /usr/bin/grep -q MaxSessions {DROP_IN}; do sleep 0.05; done
          {then}) >/dev/null 2>&1 </dev/null &"
    )
}

/// Why a change was not made.
async fn refused(world: &World, case: &Case, findings: &[Finding]) -> String {
    let fixed = world.fix(case, findings).await;
    assert_eq!((fixed.changes.len(), fixed.not_fixed.len()), (0, 1), "{fixed:?}");
    fixed.not_fixed.concat()
}

/// That the node goes by its old settings, and nothing waits to be confirmed.
async fn is_as_before(world: &World, case: &Case) {
    eventually_async("the settings count that counted before", async || {
        wrong(&found(world, case).await) == [SESSIONS]
    })
    .await;
    is_settled(world, case).await;
}

/// That nothing waits to be confirmed on a host.
async fn is_settled(world: &World, case: &Case) {
    world.run(case.name, "! ls -d /run/basilica-doctor*").await;
}

#[tokio::test]
async fn what_a_new_login_confirms_is_kept_beside_what_stood_there() {
    let case = tight("tight", "echo 'LoginGraceTime 50' >/etc/ssh/sshd_config.d/00-basilica.conf");
    let world = world_of(&case).await;
    let seen = found(&world, &case).await;
    assert_eq!(wrong(&seen), [SESSIONS], "{seen:#?}");
    let fixed = world.fix(&case, &seen).await;
    let [change] = &fixed.changes[..] else { panic!("{fixed:?}") };
    assert_eq!(change.before, "maxsessions 1 maxstartups 2:50:10");
    assert_eq!(change.after, "maxsessions 10 maxstartups 2:50:10");
    let file = world.file(case.name, DROP_IN).expect("it is kept");
    assert!(file.ends_with("LoginGraceTime 50\nMaxSessions 10\n"), "{file}");
    is_settled(&world, &case).await;

    // Of two of these the last counts in older versions, so that the line in sshd_config decides.
    let seen = found(&world, &case).await;
    assert_eq!(wrong(&seen), [STARTUPS], "{seen:#?}");
    let fixed = world.fix(&case, &seen).await;
    let after = found(&world, &case).await;
    if fixed.changes.is_empty() {
        assert!(fixed.not_fixed[0].contains("another line decides over MaxStartups"), "{fixed:?}");
        assert_eq!(wrong(&after), [STARTUPS]);
        assert_eq!(world.file(case.name, DROP_IN), Some(file));
    } else {
        assert!(wrong(&after).is_empty(), "{after:#?}");
    }
    is_settled(&world, &case).await;
}

/// Whoever made the change can still say so over the login that made it.
#[tokio::test]
async fn what_no_new_login_confirms_is_taken_back_at_once() {
    let case = tight(
        "denying",
        r#"
echo 'LoginGraceTime 50' >/etc/ssh/sshd_config.d/00-basilica.conf
cat >/usr/local/bin/grep <<'END'
#!/bin/sh
case $1 in -qixF) mv /root/.ssh/authorized_keys /root/away ;; esac
exec /usr/bin/grep "$@"
END
chmod 755 /usr/local/bin/grep
"#,
    );
    let mut world = world_of(&case).await;
    world.patience.confirm = Millis::from_secs(3_600);
    let before = found(&world, &case).await;
    let back = "mv /root/away /root/.ssh/authorized_keys";
    world.run(case.name, &once_it_is_taken_back("[ -e /root/away ]", back)).await;
    let why = refused(&world, &case, &before).await;
    assert!(why.contains("no login worked") && why.contains("taken back"), "{why}");
    assert_eq!(world.file(case.name, DROP_IN).as_deref(), Some(OWN));
    is_as_before(&world, &case).await;
}

/// The node is cut off before it can even say that it has changed anything.
#[tokio::test]
async fn a_node_that_is_cut_off_takes_the_change_back_by_itself() {
    let case = tight(
        "cut-off",
        r#"
cat >/usr/local/bin/grep <<END
#!/bin/sh
case \$1 in -qixF) ip route add blackhole ${SSH_CONNECTION%% *}/32 ;; esac
exec /usr/bin/grep "\$@"
END
chmod 755 /usr/local/bin/grep
"#,
    );
    let mut world = world_of(&case).await;
    let before = found(&world, &case).await;
    let is_cut_off = "ip route show type blackhole | /usr/bin/grep -q .";
    world
        .run(case.name, &once_it_is_taken_back(is_cut_off, "ip route del blackhole ${SSH_CONNECTION%% *}/32"))
        .await;
    let usual = world.patience;
    world.patience.confirm = Millis::from_secs(10);
    world.patience.command = Millis::from_secs(3);
    let why = refused(&world, &case, &before).await;
    assert!(why.contains("takes back after 10 s"), "{why}");
    assert!(world.file(case.name, DROP_IN).is_some(), "the change was made");
    eventually_async("the node has taken it back", async || world.file(case.name, DROP_IN).is_none()).await;
    world.patience = usual;
    is_as_before(&world, &case).await;
}

#[tokio::test]
async fn what_would_not_count_or_cannot_be_checked_is_not_left_behind() {
    let first = tight("first", "printf 'MaxSessions 1\\n' >/etc/ssh/sshd_config.d/00-a.conf");
    let world = world_of(&first).await;
    let before = found(&world, &first).await;
    let why = refused(&world, &first, &before).await;
    assert!(why.contains("another line decides over MaxSessions 10"), "{why}");
    assert_eq!(world.file(first.name, DROP_IN), None);
    is_settled(&world, &first).await;
    assert_eq!(wrong(&found(&world, &first).await), [SESSIONS]);

    // Somebody broke the file after sshd had read it.
    world.run(first.name, "echo Nonsense yes >/etc/ssh/sshd_config.d/50-mine.conf").await;
    let why = refused(&world, &first, &before).await;
    assert!(why.contains("wrong already") && why.contains("Nonsense"), "{why}");
    assert_eq!(world.file(first.name, DROP_IN), None);
    is_settled(&world, &first).await;
}

/// Plays what a namespace has not: sudo for root, the service's reload, and the usual place of the configuration.
const SUDO: &str = r#"
cat >/usr/local/bin/sudo <<'END'
#!/bin/sh
exec "$@"
END
cat >/usr/local/bin/systemctl <<'END'
#!/bin/sh
test "$*" = 'reload ssh' || exit 2
for process in /proc/[0-9]*; do
  tr '\0' ' ' <$process/cmdline | grep -qF '[listener]' && kill -s HUP ${process#/proc/}
done
exit 0
END
chmod 755 /usr/local/bin/sudo /usr/local/bin/systemctl
cp /etc/ssh/basilica_sshd_config /etc/ssh/sshd_config
echo Include /etc/ssh/sshd_config >/etc/ssh/basilica_sshd_config
"#;

#[tokio::test]
async fn the_commands_that_are_named_heal_it_as_they_stand() {
    let case = tight("by-hand", "");
    let world = world_of(&case).await;
    world.run(case.name, SUDO).await;
    for code in [SESSIONS, STARTUPS] {
        eventually_async("sshd goes by what was typed", async || {
            wrong(&found(&world, &case).await) == [code]
        })
        .await;
        let seen = found(&world, &case).await;
        let finding = seen.iter().find(|finding| finding.code.as_str() == code).expect("it is there");
        assert_eq!(finding.fix.len(), 3, "{finding:?}");
        for line in &finding.fix {
            let command = line.strip_prefix("on the node: ").or(line.strip_prefix("then: "));
            world.run(case.name, command.expect("a command")).await;
        }
    }
    eventually_async("nothing is wrong", async || wrong(&found(&world, &case).await).is_empty()).await;
}

/// A second sshd of the same machine, which nobody logs in through, and which forwards.
const SECOND: &str = r"
second=/etc/ssh/second_config
grep '^HostKey' /etc/ssh/basilica_sshd_config > $second
printf '%s\n' 'Port 2222' 'MaxStartups 2:50:10' 'AuthorizedKeysFile /nowhere' 'PidFile /run/second.pid' >> $second
$(command -v sshd || echo /usr/sbin/sshd) -f $second
until [ -s /run/second.pid ]; do sleep 0.05; done
kill -0 $(cat /run/second.pid)
";

#[tokio::test]
async fn of_two_sshds_the_one_that_took_the_login_is_judged() {
    let case = Case { sshd: "AllowTcpForwarding no", expected: &[], ..tight("two", "") };
    let mut world = World::start_with(&[case.name]).await;
    let of_sshd = async |world: &World| -> Vec<&'static str> {
        let codes = found(world, &case).await.into_iter().map(|finding| finding.code.as_str());
        codes.filter(|code| code.starts_with("sshd-")).collect()
    };
    assert_eq!(of_sshd(&world).await, ["sshd-forwarding"], "as sshd does where nobody says otherwise");
    world.break_host(&case).await;
    world.run(case.name, SECOND).await;
    assert_eq!(of_sshd(&world).await, [""; 0]);
}
