//! What a node's operator is shown of it: the readings of its GPUs, and what the doctor hears.

use basilica_doctor_service::examine::Examined;
use basilica_miner_service::testing::gpus;
use basilica_status::{Gpus, is_shown};
use basilica_verification::probe::{READINGS_MAX, Reading, readings};

const MARK: &str = "\nbasilica-gpus:\n";

pub(crate) fn run(bytes: &[u8]) {
    let told = readings(bytes);
    if let Ok(read) = &told {
        assert!(read.len() <= READINGS_MAX, "bounded");
        assert!(read.windows(2).all(|pair| pair[0].index < pair[1].index), "in order, each once");
        assert!(read.iter().all(|card| card.utilization_percent.is_none_or(|percent| percent <= 100)));
        let text: String = read.iter().map(line).collect();
        assert_eq!(readings(text.as_bytes()).as_ref(), Ok(read), "printed again, it is the same");
    }
    for code in [0, 9, 127] {
        let whole = [MARK.as_bytes(), bytes].concat();
        for (stdout, stderr) in [(bytes, &[][..]), (&whole, bytes), (&[], bytes)] {
            let seen = gpus(code, stdout, stderr);
            let json = serde_json::to_string(&seen).expect("it has no maps");
            assert_eq!(serde_json::from_str::<Gpus>(&json).ok().as_ref(), Some(&seen), "reads back");
            let words = match &seen {
                Gpus::Failed { why, .. } => vec![why],
                Gpus::Read { driver, cards, .. } => {
                    assert!(cards.len() <= READINGS_MAX && code == 0, "what failed has no readings");
                    cards.iter().map(|card| &card.model).chain([driver]).collect()
                }
                _ => Vec::new(),
            };
            assert!(words.iter().all(|words| words.as_str().chars().all(is_shown)), "{words:?}");
            // What is summed must not overflow.
            let _ = (seen.summary(), seen.utilization(), seen.hottest(), seen.power_milliwatts());
        }
    }
}

/// A card as `nvidia-smi` would print it.
fn line(card: &Reading) -> String {
    fn told<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "[N/A]".to_owned(), |value| value.to_string())
    }
    let watts =
        |power: Option<u64>| told(power.map(|power| format!("{}.{:03}", power / 1_000, power % 1_000)));
    let fields = [
        card.index.to_string(),
        told(card.uuid),
        card.name.clone(),
        card.driver.clone(),
        told(card.utilization_percent),
        told(card.memory_used_mib),
        told(card.memory_total_mib),
        told(card.temperature_celsius),
        watts(card.power_milliwatts),
        watts(card.power_limit_milliwatts),
    ];
    format!("{}\n", fields.join(", "))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const H100: &str = "0, GPU-5e1c3a4b-0c1d-4e2f-8a9b-0123456789ab, NVIDIA H100 80GB HBM3, 570.124.06, 97, 70123, 81559, 64, 650.12, 700.00\n";
    const UNTOLD: &str =
        "1, [N/A], Tesla K80, 470.256.02, [Not Supported], 0, 11441, 31, [GPU requires reset], N/A\n";
    assert_eq!(readings(format!("{H100}{UNTOLD}").as_bytes()).map(|read| read.len()), Ok(2));
    let broken = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n";
    [H100, UNTOLD, "No devices were found\n", broken].map(|seed| seed.as_bytes().to_vec()).to_vec()
}

pub(crate) fn examined(bytes: &[u8]) {
    let Some(seen) = Examined::parse(bytes) else { return };
    assert!(seen.has("end"), "only a whole answer is read");
    for name in ["me", "key-line", "driver", "smi", "engine", "cache", "openssh"] {
        for value in seen.all(name) {
            assert!(value.chars().count() <= 1_024 && value.chars().all(is_shown), "{value:?}");
        }
    }
    let _ = (
        seen.cache(),
        seen.driver(),
        seen.cuda(),
        seen.engines(),
        seen.mode("mode-home"),
        seen.can_set_sshd(),
    );
}

pub(crate) fn examined_seeds() -> Vec<Vec<u8>> {
    let whole = "now 1763760000\nme gpu\nuid 1000\nmode-home 755 1000\nkey-line ssh-ed25519 AAAA me\n\
        openssh OpenSSH_9.2p1\nsudo yes\nsshd-read yes\nsshd-includes yes\nsshd-maxstartups 10:30:100\ncache ok\n\
        driver 0 570.86.15, NVIDIA H100 80GB HBM3\nsmi | CUDA Version: 12.8 |\nengine docker 0\nruntimes nvidia runc\nend yes\n";
    let broken = "missing sha256sum\ncache unwritable No space left on device\ndriver 9 NVIDIA-SMI has failed\n\
        engine docker 1 permission denied\nengine podman 0\nend yes\n";
    [whole, broken].map(|seed| seed.as_bytes().to_vec()).to_vec()
}
