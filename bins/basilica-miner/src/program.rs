//! This program as it prints commands of its own: for the configuration in use, so that a line which is pasted means the same miner.

use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use basilica_types::Argv;
use clap::CommandFactory as _;

use crate::cli::Cli;

/// The file that is read where none is named.
pub(crate) const USUAL_CONFIG: &str = "miner.toml";

/// `basilica-miner`, with `-c FILE` where another configuration than the usual one is in use. What it is to do follows:
/// `format!("{program} nodes list")`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    words: String,
    /// Whether the unit of systemd runs on this configuration.
    is_unit: bool,
}

const NAME: &str = "basilica-miner";
/// What the unit in deploy/systemd runs on.
const UNIT_CONFIG: &str = "/opt/basilica/config/miner.toml";
const START_UNIT: &str = "sudo systemctl start basilica-miner";
/// Where the unit is one way of several.
const RELOAD_UNIT: &str = "systemctl reload basilica-miner, or ";
/// Where it helps to answer a question.
const STATUS_OF_UNIT: &str = " (systemctl status basilica-miner)";

impl Program {
    /// With this configuration, as it was named.
    pub(crate) fn with(config: &Path) -> Self {
        let is_unit = std::path::absolute(config).is_ok_and(|path| path == Path::new(UNIT_CONFIG));
        Self { words: Self::words(config), is_unit }
    }

    fn words(config: &Path) -> String {
        if config == Path::new(USUAL_CONFIG) {
            return NAME.to_owned();
        }
        // One that begins with a dash would be read as an option.
        let file = if config.as_os_str().as_encoded_bytes().starts_with(b"-") {
            Path::new(".").join(config)
        } else {
            config.to_owned()
        };
        let words = Argv::new([NAME, "-c", &file.to_string_lossy()]);
        // Longer than a command line may be; the file is known to whoever named it.
        words.map_or_else(|_| format!("{NAME} -c FILE"), |words| words.to_command_line())
    }

    /// The same for the lines of a log, in which it may stand in a text of JSON.
    pub(crate) fn in_log(self, json: bool) -> Self {
        let quoted = serde_json::to_string(&self.words).unwrap_or_default();
        let text = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|_| json);
        Self { words: text.unwrap_or(&self.words).to_owned(), ..self }
    }

    /// Words of a part that knows of no configuration, with it in each command of ours that they name.
    pub(crate) fn in_words(&self, words: &str) -> String {
        let mut told = String::with_capacity(words.len());
        // The unit is another miner, or none.
        let without_unit = || {
            let started = words.replace(START_UNIT, &self.words);
            started.replace(RELOAD_UNIT, "").replace(STATUS_OF_UNIT, "")
        };
        let words = if self.is_unit { words.to_owned() } else { without_unit() };
        let mut rest = words.as_str();
        while let Some((before, after)) = rest.split_once(NAME) {
            let is_command = after.strip_prefix(' ').is_some_and(begins_with_command);
            told.push_str(before);
            told.push_str(if is_command { &self.words } else { NAME });
            rest = after;
        }
        told + rest
    }
}

/// Whether these words go on with a command that reads the configuration.
fn begins_with_command(words: &str) -> bool {
    // A page has a command for each node.
    static COMMANDS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let all = Cli::command();
        all.get_subcommands()
            .map(|command| command.get_name().to_owned())
            .filter(|name| name != "init")
            .collect()
    });
    let word = words.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next();
    word.is_some_and(|word| COMMANDS.iter().any(|command| command == word))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_configuration_is_not_named_and_any_other_can_be_pasted() {
        let shown = |config: &str| Program::with(Path::new(config)).to_string();
        for (config, expected) in [
            ("miner.toml", "basilica-miner"),
            ("/opt/basilica/config/miner.toml", "basilica-miner -c /opt/basilica/config/miner.toml"),
            ("other.toml", "basilica-miner -c other.toml"),
            ("my miner.toml", "basilica-miner -c 'my miner.toml'"),
            ("it's.toml", r"basilica-miner -c 'it'\''s.toml'"),
            ("~/$(id).toml", "basilica-miner -c '~/$(id).toml'"),
            ("-x.toml", "basilica-miner -c './-x.toml'"),
        ] {
            assert_eq!(shown(config), expected);
        }
        assert_eq!(shown(&"x".repeat(70_000)), "basilica-miner -c FILE");
    }

    #[test]
    fn words_of_others_get_the_configuration_where_they_name_a_command() {
        let program = Program::with(Path::new("other.toml"));
        let words = "run `basilica-miner database migrate`; basilica-miner runs already; sudo systemctl start basilica-miner, or: \
                     basilica-miner doctor; basilica-miner init --yes; basilica-miner -c x.toml status";
        let told = "run `basilica-miner -c other.toml database migrate`; basilica-miner runs already; basilica-miner -c other.toml, or: basilica-miner -c other.toml doctor; basilica-miner init --yes; basilica-miner -c x.toml status";
        assert_eq!(program.in_words(words), told);
        let usual = Program::with(Path::new(USUAL_CONFIG)).in_words(words);
        assert_eq!(usual, words.replace("sudo systemctl start ", ""), "it runs here");
        let unit = Program::with(Path::new(UNIT_CONFIG))
            .in_words("start it: sudo systemctl start basilica-miner; basilica-miner status");
        let told = "start it: sudo systemctl start basilica-miner; basilica-miner -c /opt/basilica/config/miner.toml status";
        assert_eq!(unit, told);
        let words = "make it read it: systemctl reload basilica-miner, or send it SIGHUP; is it running (systemctl status basilica-miner), here";
        assert_eq!(program.in_words(words), "make it read it: send it SIGHUP; is it running, here");
        assert_eq!(Program::with(Path::new(UNIT_CONFIG)).in_words(words), words);
    }
}
