//! What a node prints to the commands that a validator runs on it.

use basilica_proof::claim::{ClaimReport, ClassName, DeviceFacts, DeviceReport, REPORT_VERSION};
use basilica_types::GpuUuid;

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) stdout: Vec<u8>,
    pub(super) status: u32,
}

/// What `basilica-prover claims` prints on a node with one GPU of that class.
pub(super) fn claims(gpu: GpuUuid, class: &ClassName) -> Vec<u8> {
    let facts = DeviceFacts::simulated(class, 0);
    let device = DeviceReport { index: 0, uuid: gpu, class: class.clone(), facts };
    let report = ClaimReport { version: REPORT_VERSION, machine: None, devices: vec![device] };
    serde_json::to_vec(&report).expect("a report is JSON")
}

/// Answers a light check's look and the prover's `claims`. Whatever else a full check asks ends with 127: nothing here
/// could prove a GPU.
pub(super) fn to(command_line: &str, claims: &[u8]) -> Answer {
    let words = split(command_line);
    let script = words.get(2).map_or("", String::as_str);
    if script.contains("section nonce 0 \"$1\"") {
        let argument = |number: usize| words.get(number + 3).map_or("", String::as_str);
        return Answer { stdout: look(argument(1), argument(4), claims), status: 0 };
    }
    if script.ends_with("exec \"$file\" claims") {
        return Answer { stdout: claims.to_vec(), status: 0 };
    }
    Answer { stdout: Vec::new(), status: 127 }
}

/// The sections that the script prints where Docker runs and has no rental.
fn look(nonce: &str, engines: &str, claims: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    section(&mut out, "nonce", nonce.as_bytes());
    if engines.split(' ').any(|engine| engine == "docker") {
        section(&mut out, "docker", b"");
    }
    section(&mut out, "claims", claims);
    section(&mut out, "end", b"");
    out
}

fn section(out: &mut Vec<u8>, name: &str, body: &[u8]) {
    out.extend_from_slice(format!("{name} 0 {}\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out.push(b'\n');
}

/// The words of a command line as `sh` reads them, as far as `Argv` writes them: plain, in single quotes, or escaped.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => word.get_or_insert_default().extend(rest.by_ref().take_while(|c| *c != '\'')),
            '\\' => word.get_or_insert_default().extend(rest.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_probing_service::{ProverFile, look};
    use basilica_types::{Argv, Millis};
    use basilica_verification::ProbeRules;
    use basilica_verification::probe::{EngineState, Seen};

    #[test]
    fn a_validator_reads_a_living_node_in_the_answer_to_its_look() {
        let gpu = GpuUuid::from_bytes([7; 16]);
        let claims = claims(gpu, &"simulated-H100".parse().unwrap());
        let (nonce, prover) = ([0xab; 32], ProverFile::new(b"prover".to_vec()));
        for (rules, state) in [
            (ProbeRules::default(), EngineState::Answers(basilica_verification::probe::Engine::Docker)),
            (ProbeRules::NONE, EngineState::NotAsked),
        ] {
            let answer = to(&look(&nonce, &prover, &rules, Millis::from_secs(60)).to_command_line(), &claims);
            assert_eq!(answer.status, 0);
            let seen = Seen::parse(&answer.stdout, &nonce, rules.containers.is_asked()).unwrap();
            assert_eq!(seen.engine, state);
            assert_eq!(seen.claims.unwrap().devices[0].uuid, gpu);
        }
    }

    #[test]
    fn what_it_cannot_do_is_a_command_that_is_not_there() {
        let unknown = Argv::new(["nvidia-smi"]).unwrap().to_command_line();
        assert_eq!(to(&unknown, b"{}"), Answer { stdout: Vec::new(), status: 127 });
    }

    #[test]
    fn words_are_those_that_were_quoted() {
        let words = ["sh", "-c", "it's \"$1\"\nand more", "", "a b", "\\", "''"];
        assert_eq!(split(&Argv::new(words).unwrap().to_command_line()), words);
    }
}
