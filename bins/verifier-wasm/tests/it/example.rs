//! The documentation's example, run as it stands there.

use std::path::Path;
use std::process::Command;

use crate::module;

const DOCUMENTATION: &str = "../../docs/verify.md";

/// What the reader adds to it.
const CALLER: &str = r#"
import { readFile } from "node:fs/promises";
const [module, transcript] = await Promise.all(process.argv.slice(2).map((file) => readFile(file)));
const verify = await verifier(module);
verify(transcript.subarray(1));
process.stdout.write(JSON.stringify(verify(transcript)));
"#;

#[test]
fn the_example_of_the_documentation_checks_a_transcript() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENTATION)).unwrap();
    let (_, rest) = text.split_once("```js\n").expect("docs/verify.md has an example in JavaScript");
    let (example, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (script, file) = (folder.path().join("verify.mjs"), folder.path().join("transcript"));
    std::fs::write(&script, format!("{example}{CALLER}")).unwrap();
    for (name, transcript) in module::golden() {
        std::fs::write(&file, &transcript).unwrap();
        let ran = Command::new("node").arg(&script).arg(module::path()).arg(&file).output();
        let ran = ran.expect("node runs; `cargo xtask setup` installs it");
        assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
        let here: serde_json::Value =
            serde_json::from_str(&basilica_verifier_wasm::answer(&transcript)).unwrap();
        let there: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(there, here, "{name}");
    }
}
