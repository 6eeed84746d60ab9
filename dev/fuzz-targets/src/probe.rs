//! What our scripts print on a node, which may be anything.

use basilica_verification::ProbeRules;
use basilica_verification::probe::{ContainerRun, Found, Seen, Survey};
use codec::{DecodeAll as _, Encode as _};

const NONCE: [u8; 32] = [0; 32];

pub(crate) fn run(bytes: &[u8]) {
    for engine_asked in [false, true] {
        let Ok(seen) = Seen::parse(bytes, &NONCE, engine_asked) else { continue };
        assert!(bytes.ends_with(b"end 0 0\n\n"), "only a whole output is read");
        assert!(seen.rentals.0.len() <= 64, "lists are bounded");
    }
    let _ = ContainerRun::parse(bytes, &[].into());
    let Ok(survey) = Survey::parse(bytes, &ProbeRules::default()) else { return };
    assert!(bytes.ends_with(b"end 0 0\n\n"), "only a whole output is read");
    if let Some(Found::Read(machine)) = &survey.hardware {
        let words = [&machine.cpu_model, &machine.os, &machine.kernel];
        assert!(words.iter().all(|text| text.len() <= 128 && !text.chars().any(char::is_control)));
    }
    let probes = basilica_verification::Probes {
        hardware: survey.hardware,
        containers: survey.containers,
        storage: survey.storage,
        ..Default::default()
    };
    let again = basilica_verification::Probes::decode_all(&mut &probes.encode()[..]);
    assert_eq!(again.as_ref(), Ok(&probes), "what is signed reads back");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let nonce = "00".repeat(32);
    let listing = format!("{} rental-1", "ab".repeat(32));
    let claims = r#"{"version":2,"devices":[]}"#;
    let full =
        [("nonce", 0, nonce.as_str()), ("docker", 1, ""), ("podman", 0, &listing), ("claims", 0, claims)];
    let bare = [("nonce", 0, nonce.as_str()), ("claims", 66, "")];
    let looks = vec![framed(&full), framed(&bare)];
    assert!(looks.iter().all(|seed| Seen::parse(seed, &NONCE, true).is_ok()), "they are looks");
    let survey = framed(&[
        ("lscpu", 0, "CPU(s): 64\nModel name: AMD EPYC 7543"),
        ("meminfo", 0, "MemTotal:       24684084 kB"),
        ("os-release", 0, "PRETTY_NAME=\"Ubuntu 24.04 LTS\""),
        ("uname", 0, "Linux 6.8.0-31-generic"),
        ("docker", 0, "{\"ServerVersion\":\"27.3.1\",\"Driver\":\"overlay2\"}"),
        ("podman", 0, "{\"version\":{\"Version\":\"4.3.1\"},\"store\":{\"graphDriverName\":\"overlay\"}}"),
        ("df", 0, "Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/a 4000 1 2000 50% /"),
    ]);
    let gpus = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b)";
    let container = framed(&[("pull", 0, ""), ("gpus", 0, gpus)]);
    looks.into_iter().chain([survey, container]).collect()
}

fn framed(sections: &[(&str, u8, &str)]) -> Vec<u8> {
    let section = |(name, code, body): &(&str, u8, &str)| format!("{name} {code} {}\n{body}\n", body.len());
    let mut output: String = sections.iter().map(section).collect();
    output.push_str("end 0 0\n\n");
    output.into_bytes()
}
