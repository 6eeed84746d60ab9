//! What runs on a node to look at its keys and to change them: constant text, to a POSIX shell.

/// `$1`: largest file to print; the rest: moments to express in the node's local time.
pub(super) const INSPECT: &str = r#"
LC_ALL=C; export LC_ALL
printf 'now %s\n' "$(date +%s)"
printf 'ssh %s\n' "$(ssh -V 2>&1 | head -n 1)"
limit=$1; shift
for epoch in "$@"; do
  at=$(env -u TZ date -d "@$epoch" +%Y%m%d%H%M%S 2>/dev/null) || at=-
  text=$(env -u TZ date -d "@$epoch" '+%Y-%m-%d %H:%M:%S' 2>/dev/null) || text=-
  back=$(env -u TZ date -d "$text" +%s 2>/dev/null) || back=-
  printf 'expiry %s %s %s\n' "$epoch" "$at" "$back"
done
file=$HOME/.ssh/authorized_keys
[ -e "$file" ] || { printf 'absent\n'; exit 0; }
size=$(wc -c < "$file") || exit 94
[ "$size" -le "$limit" ] || exit 95
printf 'file\n'
cat "$file"
"#;

/// Files that an interrupted write left behind go first, once no write can still be at work on them.
///
/// `$1`: SHA-256 of the file as it was read, or `absent`; `$2`: SHA-256 of the new content on standard input; `$3`: bytes of the file
/// as it was read. What somebody appends to the file before the rename is carried over, but only behind what was read: of a file that
/// was written anew in place, the part beyond that length could be a key without the options before it.
pub(super) const REPLACE: &str = r#"
set -eu
umask 077
LC_ALL=C; export LC_ALL
mkdir -p "$HOME/.ssh"
file=$HOME/.ssh/authorized_keys
if [ -L "$file" ]; then file=$(readlink -f "$file"); fi
find "$(dirname "$file")" -maxdepth 1 -type f -name '.authorized_keys.basilica.*' -user "$(id -u)" -mmin +10 \
  -exec rm -f {} + 2>/dev/null || :
new=$(mktemp "$(dirname "$file")/.authorized_keys.basilica.XXXXXXXX")
old=$(mktemp "$(dirname "$file")/.authorized_keys.basilica.XXXXXXXX")
trap 'rm -f "$new" "$old"' EXIT
cat > "$new"
[ "$(sha256sum < "$new" | cut -c 1-64)" = "$2" ] || exit 91
if [ -e "$file" ]; then
  chmod "$(stat -c %a "$file")" "$new"
  if [ "$(stat -c %u:%g "$file")" != "$(stat -c %u:%g "$new")" ]; then
    chown "$(stat -c %u:%g "$file")" "$new" || exit 92
  fi
fi
sync "$new" 2>/dev/null || sync
found=absent
if [ -e "$file" ]; then
  exec 3< "$file"
  cat <&3 > "$old"
  found=$(sha256sum < "$old" | cut -c 1-64)
fi
[ "$found" = "$1" ] || exit 90
swapped=97
if [ "$found" != absent ]; then
  swapped=0
  perl -e '
    my ($new, $file, $old) = @ARGV;
    sub id { join " ", (stat $_[0])[0, 1] }
    open my $was, "<:raw", $old or exit 97;
    open my $is, "<:raw", $file or exit 90;
    local $/;
    my @content = (scalar <$was>, scalar <$is>);
    exit 90 unless $content[0] eq $content[1] && id(*STDIN) eq id($is) && id($is) eq id($file);
    rename $new, $file or exit 97;
  ' "$new" "$file" "$old" <&3 2>/dev/null || swapped=$?
fi
[ "$swapped" != 90 ] || exit 90
if [ "$swapped" != 0 ]; then
  if [ "$found" != absent ] && ! [ "$file" -ef /dev/fd/3 ]; then exit 90; fi
  mv -f "$new" "$file"
fi
if [ "$found" != absent ] && [ "$(head -c "$3" /dev/fd/3 | sha256sum | cut -c 1-64)" = "$1" ]; then cat <&3 >> "$file"; fi
sync "$(dirname "$file")" 2>/dev/null || sync
"#;

/// Ends the processes of this user that were started with one of the keys named: tells them to at the first look, kills them at the others.
///
/// `$1`: looks; `$2`: seconds between two of them; the rest: keys.
pub(super) const END_PROCESSES: &str = r#"
me=$(id -u)
LC_ALL=C; export LC_ALL
looks=$1 pause=$2; shift 2
keys=$(printf 'BASILICA_KEY=%s\n' "$@")
signal=TERM
while [ "$looks" -gt 0 ]; do
  looks=$((looks - 1))
  found=
  for file in $(grep -lszxF "$keys" /proc/[0-9]*/environ); do
    dir=${file%/environ}
    [ "$(stat -c %u "$dir" 2>/dev/null)" = "$me" ] || continue
    found=1
    kill -s "$signal" "${dir#/proc/}" 2>/dev/null
  done
  [ -n "$found" ] || exit 0
  sleep "$pause"
  signal=KILL
done
exit 93
"#;
