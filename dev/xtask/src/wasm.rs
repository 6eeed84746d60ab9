//! The verifier as a WebAssembly module (`bins/verifier-wasm`).
//!
//! Rust's standard library for WebAssembly comes from one of two places: rustup, where its target is installed, or the
//! distribution's compiler for browsers (Debian's `rustc-web`, with the library's sources in `rust-web-src`), which builds it
//! anew; cargo and the linker are rustup's either way. The second is what setup installs, because it comes from the package
//! archive like every other tool. Rejected: building the library's sources with rustup's compiler (the two must be of one
//! version, and no package brings that), and a module in the repository (bytes that nobody can review).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{Failure, output, run, succeeds};
use crate::setup;
use crate::workspace::Workspace;

/// The module's name beside the binaries, where tests look for it.
const MODULE: &str = "basilica-verifier.wasm";
const TARGET: &str = "wasm32-unknown-unknown";
const DISTRIBUTIONS_RUSTC: &str = "/usr/bin/rustc";

/// `cargo xtask wasm`.
pub(crate) fn run_verb(workspace: &Workspace) -> Result<(), Failure> {
    setup::module()?;
    build(workspace)
}

/// Builds the module, and says how large it is and what it hashes to.
pub(crate) fn build(workspace: &Workspace) -> Result<(), Failure> {
    let folder = workspace.target.join("wasm");
    let folder_shown = folder.to_string_lossy();
    let mut arguments = vec!["build", "--package", "basilica-verifier-wasm", "--lib", "--profile", "wasm"];
    arguments.extend(["--target", TARGET, "--target-dir", &folder_shown]);
    let (compiler, flag) = if installed_target() {
        (None, None)
    } else if distribution_has_it() {
        (Some(DISTRIBUTIONS_RUSTC), Some("-Zbuild-std=std,panic_abort"))
    } else {
        return Err(Failure::Broken(format!("there is no standard library for {TARGET}: {ALTERNATIVE}")));
    };
    arguments.extend(flag);
    let mut command = workspace.cargo(&arguments);
    if let Some(compiler) = compiler {
        command.env("RUSTC", compiler).env("RUSTC_BOOTSTRAP", "1");
    }
    // The module links what it asks for, not what the rest of the workspace asks of the same crates.
    command.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker()?);
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", without_paths(workspace));
    run(&mut command)?;
    let built = folder.join(TARGET).join("wasm/basilica_verifier_wasm.wasm");
    publish(&built, &workspace.binaries())
}

/// What to do where setup cannot install it.
pub(crate) const ALTERNATIVE: &str = "`rustup target add wasm32-unknown-unknown` does as well";

/// Whether a compiler for WebAssembly has the standard library or its sources.
pub(crate) fn has_std() -> bool {
    installed_target() || distribution_has_it()
}

fn publish(built: &Path, folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Failure::File { path, source }
    };
    let bytes = std::fs::read(built).map_err(failed(built))?;
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let module = folder.join(MODULE);
    std::fs::write(&module, &bytes).map_err(failed(&module))?;
    println!("    {}: {} bytes, BLAKE3 {}", module.display(), bytes.len(), blake3::hash(&bytes));
    Ok(())
}

/// Rustup's compiler, whatever RUSTC is set to.
fn rustc() -> Command {
    Command::new("rustc")
}

fn installed_target() -> bool {
    let libraries =
        output(rustc().args(["--print", "target-libdir", "--target", TARGET]).stderr(Stdio::null()));
    libraries.is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

fn distribution_has_it() -> bool {
    sources().is_some_and(|sources| sources.join("std/Cargo.toml").is_file())
}

/// Where the distribution's compiler looks for the sources of its library: below its own version.
fn sources() -> Option<PathBuf> {
    if !succeeds(Command::new(DISTRIBUTIONS_RUSTC).arg("-V")) {
        return None;
    }
    let version = output(Command::new(DISTRIBUTIONS_RUSTC).arg("-V")).ok()?;
    let number = version.split_whitespace().nth(1)?;
    Some(Path::new("/usr/src").join(format!("rustc-{number}")).join("library"))
}

/// The linker that rustup's toolchain brings; cargo would look for one of its name on the path.
fn linker() -> Result<PathBuf, Failure> {
    let broken = |why: &str| Failure::Broken(why.to_owned());
    let sysroot = output(rustc().args(["--print", "sysroot"]))?;
    let version = output(rustc().arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| broken("`rustc -vV` names no host"))?;
    let linker = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/rust-lld");
    if linker.is_file() {
        return Ok(linker);
    }
    Err(Failure::Broken(format!("{} is missing; rustup's toolchains have it", linker.display())))
}

/// Flags that keep this machine's folders out of the module: it is the same wherever it is built.
fn without_paths(workspace: &Workspace) -> String {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cargo = set("CARGO_HOME").or_else(|| set("HOME").map(|home| home.join(".cargo")));
    let registry = cargo.and_then(|cargo| std::fs::read_dir(cargo.join("registry/src")).ok());
    let registries = registry.into_iter().flatten().filter_map(Result::ok).map(|folder| folder.path());
    let pairs = registries.map(|folder| (folder, "/crates")).chain([(workspace.root.clone(), "/basilica")]);
    pairs
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect::<Vec<_>>()
        .join(" ")
}
