//! The content of an `authorized_keys`, read by its own rules: nothing of the miner's is used to judge the miner.

use std::collections::BTreeSet;

const BEGIN: &str = "# BEGIN basilica";
const END: &str = "# END basilica";

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Begin,
    End,
    /// A validator's key, whole.
    Ours(Held),
    /// Anything else.
    Other,
}

/// A validator's key on a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Held {
    /// `validator-HOTKEY-SESSION`.
    pub(crate) tag: String,
    pub(crate) key: String,
    /// When it ends, in seconds.
    pub(crate) epoch: i64,
}

/// A content's lines, each with its end.
pub(crate) fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').collect()
}

pub(crate) fn line(bytes: &[u8]) -> Line {
    let Some(text) = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n')) else {
        return Line::Other;
    };
    if text.starts_with(BEGIN) {
        return Line::Begin;
    }
    if text == END {
        return Line::End;
    }
    held(text).map_or(Line::Other, Line::Ours)
}

fn held(text: &str) -> Option<Held> {
    let (head, tag) = text.rsplit_once(' ')?;
    let (hotkey, session) = tag.strip_prefix("validator-")?.split_once('-')?;
    let alphanumeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if hotkey.len() != 48 || session.len() != 16 || !alphanumeric(hotkey) || !alphanumeric(session) {
        return None;
    }
    let (options, key) = head.split_once(" ssh-ed25519 ")?;
    if key.len() != 68 || !key.starts_with("AAAAC3NzaC1lZDI1NTE5") {
        return None;
    }
    let options = options.strip_prefix("restrict,")?;
    let command = match options.strip_prefix("expiry-time=\"") {
        Some(rest) => {
            let (time, command) = rest.split_once("\",")?;
            (time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit())).then_some(command)?
        }
        None => options,
    };
    let epoch = command.strip_prefix("command=\"[ $(date +%s) -lt ")?.split(' ').next()?;
    let expected = format!(
        "command=\"[ $(date +%s) -lt {epoch} ] && grep -q {tag} ~/.ssh/authorized_keys && BASILICA_KEY={tag} exec sh -c \
         \\\"$SSH_ORIGINAL_COMMAND\\\"; exit 97\""
    );
    (command == expected).then_some(Held {
        tag: tag.to_owned(),
        key: key.to_owned(),
        epoch: epoch.parse().ok()?,
    })
}

/// A content taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) held: BTreeSet<Held>,
    /// Lines that are not the miner's, in order.
    pub(crate) others: Vec<Vec<u8>>,
    /// What is wrong with the miner's own lines, if it wrote them.
    pub(crate) disorder: Option<&'static str>,
}

impl Page {
    pub(crate) fn read(content: &[u8]) -> Self {
        let mut page = Self::default();
        let (mut begins, mut ends, mut inside) = (0, 0, false);
        if content.last().is_some_and(|byte| *byte != b'\n') {
            page.disorder = Some("the last line has no end");
        }
        for bytes in lines(content) {
            match line(bytes) {
                Line::Begin => (begins, inside) = (begins + 1, true),
                Line::End => (ends, inside) = (ends + 1, false),
                Line::Ours(held) => {
                    if !inside {
                        page.disorder.get_or_insert("a key stands outside of the markers");
                    }
                    if !page.held.insert(held) {
                        page.disorder.get_or_insert("a key stands there twice");
                    }
                }
                Line::Other => {
                    if inside {
                        page.disorder.get_or_insert("a line of somebody else stands between the markers");
                    }
                    page.others.push(bytes.to_vec());
                }
            }
        }
        if begins != ends || begins > 1 || inside {
            page.disorder.get_or_insert("the markers are not one pair");
        }
        if begins == 1 && page.held.is_empty() {
            page.disorder.get_or_insert("the markers hold nothing");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(epoch: i64) -> String {
        let tag = format!("validator-{}-0123456789abcdef", "5".repeat(48));
        format!(
            "restrict,expiry-time=\"20300101000000\",command=\"[ $(date +%s) -lt {epoch} ] && grep -q {tag} ~/.ssh/authorized_keys && \
             BASILICA_KEY={tag} exec sh -c \\\"$SSH_ORIGINAL_COMMAND\\\"; exit 97\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{} {tag}\n",
            "A".repeat(48)
        )
    }

    #[test]
    fn a_whole_block_is_in_order_and_nothing_less_is() {
        let block = format!("{BEGIN}: x\n{}{END}\n", ours(5));
        let page = Page::read(format!("# mine\n{block}\r\n# mine\n").as_bytes());
        assert_eq!((page.held.len(), page.others.len(), page.disorder), (1, 3, None));
        assert_eq!(page.held.first().unwrap().epoch, 5);
        for cut in 1..block.len() {
            let page = Page::read(&block.as_bytes()[..cut]);
            assert!(page.disorder.is_some(), "{cut}");
        }
        for wrong in [
            format!("{BEGIN}: x\n{END}\n"),
            format!("{block}{block}"),
            ours(5),
            format!("{BEGIN}: x\n{}# mine\n{END}\n", ours(5)),
            format!("{BEGIN}: x\n{}{}{END}\n", ours(5), ours(5)),
        ] {
            assert!(Page::read(wrong.as_bytes()).disorder.is_some(), "{wrong}");
        }
        let shortened = ours(5).replace("restrict,", "");
        assert_eq!(line(shortened.as_bytes()), Line::Other);
    }
}
