//! The steps that must run inside new namespaces, where no code of ours is: four constant scripts, to which values come
//! as arguments. Each ends when its standard input closes, that is, when whoever started it is gone for
//! whatever reason; the kernel then takes the namespaces with everything in them.

/// The network that nodes stand on: process 1 of namespaces of its own.
///
/// `$1` address of the gateway, with prefix length. Then, only if the machine itself shall reach the nodes: `$2` name of the
/// interface to make on the machine, `$3` path of the machine's network namespace.
pub(super) const LAN: &str = r#"
set -eu
mount -t tmpfs -o size=2g,mode=755 basilica-nodes /mnt
ip link set lo up
ip link add lan0 type bridge
ip link set lan0 up
if [ $# -eq 1 ]; then
    ip addr add "$1" dev lan0
else
    ip link add uplink type veth peer name "$2" netns "$3"
    ip link set uplink master lan0 up
fi
read -r pid rest </proc/self/stat
echo "$pid"
exec cat >/dev/null
"#;

/// A cable from a new network namespace to the bridge, and loopback.
///
/// `$1` process of [`LAN`], `$2` name of the bridge's port, `$3` address with prefix length.
macro_rules! plugged_in {
    () => {
        r#"
set -eu
lan="/proc/$1/ns/net"
ip link add eth0 type veth peer name "$2" netns "$lan"
nsenter --net="$lan" ip link set "$2" master lan0 up
ip link set lo up
ip addr add "$3" dev eth0
ip link set eth0 up
"#
    };
}

/// A network of its own for programs that otherwise share the machine; obeys words on its standard input. A port whose state is
/// 0, disabled, keeps its carrier: what is sent is lost, and nobody is told. (One that is out of the bridge would take what is sent to the bridge's
/// own address.)
///
/// Arguments as in `plugged_in!`.
pub(super) const STATION: &str = concat!(
    plugged_in!(),
    r#"
read -r pid rest </proc/self/stat
echo "$pid"
while read -r word; do
    case "$word" in
        cut) nsenter --net="$lan" bridge link set dev "$2" state 0 ;;
        heal) nsenter --net="$lan" bridge link set dev "$2" state 3 ;;
    esac
    echo "$word"
done
"#
);

/// One node: process 1 of a host of its own, which then obeys words on its standard input.
///
/// `$1` to `$3` as in `plugged_in!`, `$4` directory for the node's disk, `$5` host name, `$6` path of sshd.
pub(super) const NODE: &str = concat!(
    plugged_in!(),
    r#"
mkdir -p "$4/upper" "$4/work" "$4/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$4/upper,workdir=$4/work" "$4/root"
cd "$4/root"
mkdir -p proc sys dev tmp run root home mnt
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mkdir -p dev/shm
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=700 tmpfs root
mount -t tmpfs -o mode=755 tmpfs home
mkdir -m 755 run/sshd
mkdir -m 700 root/.ssh
echo "$5" >/proc/sys/kernel/hostname
echo "$5" >etc/hostname
echo "127.0.0.1 localhost $5" >etc/hosts
read -r pid rest </proc/self/stat
pivot_root . mnt
umount -l /mnt
cd /
echo "$pid"
while read -r word; do
    case "$word" in
        up) rm -f /run/basilica-sshd.log
            "$6" -D -e -f /etc/ssh/basilica_sshd_config </dev/null >/dev/null 2>/run/basilica-sshd.log & ;;
        hang) kill -s STOP -- -1 ;;
        resume) kill -s CONT -- -1 ;;
        down) kill -s KILL -- -1 && wait || true ;;
    esac
    echo "$word"
done
"#
);

/// An sshd without namespaces that does not outlive its owner.
///
/// `$1` path of sshd, `$2` its configuration, `$3` its log.
pub(super) const WATCHED: &str = r#"
"$1" -D -e -f "$2" </dev/null >/dev/null 2>"$3" &
sshd=$!
echo "$sshd"
cat >/dev/null
sessions=$(cat "/proc/$sshd/task/$sshd/children")
kill -s KILL "$sshd" $sessions
"#;
