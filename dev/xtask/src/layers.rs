//! The arrows between crates: `core <- ports <- services <- bins -> adapters -> ports, core` (DESIGN §4).
//!
//! A crate's layer is its folder. Normal and build dependencies are checked; tests may use anything. Technologies have
//! one owner each, so that it can be exchanged and so that its compile time is paid once.

use std::path::Path;

use crate::command::Failure;
use crate::metadata::{Dependency, Kind, Package};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Core,
    Ports,
    Services,
    Adapters,
    Bins,
    Dev,
}

impl Layer {
    /// The layer of a crate's folder, relative to the root of the repository.
    fn of(folder: &Path) -> Option<Self> {
        let steps: Vec<&str> = folder.iter().map(|step| step.to_str()).collect::<Option<_>>()?;
        match steps.as_slice() {
            ["crates", "core", _] => Some(Self::Core),
            ["crates", "ports"] => Some(Self::Ports),
            ["crates", "services", _] => Some(Self::Services),
            ["crates", "adapters", _] => Some(Self::Adapters),
            ["bins", _] => Some(Self::Bins),
            ["dev", _] => Some(Self::Dev),
            _ => None,
        }
    }

    const fn may_use(self, other: Self) -> bool {
        use Layer::{Adapters, Bins, Core, Dev, Ports, Services};
        match self {
            Core => matches!(other, Core),
            Ports => matches!(other, Core),
            Services => matches!(other, Core | Ports | Services),
            Adapters => matches!(other, Core | Ports),
            Bins => matches!(other, Core | Ports | Services | Adapters),
            Dev => matches!(other, Core | Ports | Services | Adapters | Bins | Dev),
        }
    }
}

/// Who alone may use which outside crates, by the beginning of their names. The folders under `dev/` may use the
/// technologies too (their tests look at the product from outside); FRAME is kept from them as well.
const OWNERS: [(&str, &[&str]); 8] = [
    ("crates/adapters/http", &["axum", "utoipa"]),
    ("crates/adapters/panel", &["askama"]),
    ("crates/adapters/screen", &["ratatui", "crossterm"]),
    ("crates/adapters/store", &["sqlx"]),
    ("crates/adapters/rpc", &["tonic", "prost", "protox"]),
    ("crates/adapters/chain", &["subxt"]),
    ("crates/adapters/ssh", &["russh"]),
    ("dev/devchain", &["frame-", "pallet-", "sp-"]),
];

/// What pure code may not use: it neither waits nor does anything.
const NOT_IN_CORE: [&str; 7] = ["tokio", "async-trait", "futures", "tracing", "getrandom", "rand", "anyhow"];

/// Everything wrong with the arrows, one line each.
pub(crate) fn check(root: &Path, packages: &[Package]) -> Result<Vec<String>, Failure> {
    let mut problems = violations(root, packages);
    for package in packages {
        let manifest = std::fs::read_to_string(&package.manifest)
            .map_err(|source| Failure::File { path: package.manifest.clone(), source })?;
        if !opts_into_lints(&manifest) {
            problems.push(format!("{}: add `[lints]` with `workspace = true`", package.name));
        }
    }
    Ok(problems)
}

fn violations(root: &Path, packages: &[Package]) -> Vec<String> {
    let folder = |package: &Package| {
        let folder = package.manifest.parent().unwrap_or(&package.manifest);
        folder.strip_prefix(root).unwrap_or(folder).to_owned()
    };
    let layer_of = |name: &str| packages.iter().find(|p| p.name == name).map(|p| Layer::of(&folder(p)));
    let mut problems = Vec::new();
    for package in packages {
        let home = folder(package);
        let Some(layer) = Layer::of(&home) else {
            problems.push(format!("{}: {} is no layer's folder", package.name, home.display()));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind != Kind::Development) {
            let problem = match layer_of(&dependency.name) {
                Some(other) => inside(layer, other, dependency),
                None => outside(layer, &home, dependency),
            };
            problems.extend(problem.map(|why| format!("{} -> {}: {why}", package.name, dependency.name)));
        }
    }
    problems
}

/// A dependency on a crate of the workspace.
fn inside(layer: Layer, other: Option<Layer>, dependency: &Dependency) -> Option<String> {
    let other = other?;
    // The command line starts the localnet under a feature that no release has (RULES R23).
    let localnet = layer == Layer::Bins && other == Layer::Dev && dependency.optional;
    if !layer.may_use(other) && !localnet {
        return Some(format!("{layer:?} may not use {other:?} (DESIGN §4)"));
    }
    let testing = layer != Layer::Dev && dependency.features.iter().any(|feature| feature == "testing");
    testing.then(|| "the feature `testing` is for tests; ask for it under [dev-dependencies]".to_owned())
}

/// A dependency on a crate of someone else.
fn outside(layer: Layer, home: &Path, dependency: &Dependency) -> Option<String> {
    let starts = |prefix: &&str| match prefix.strip_suffix('-') {
        Some(_) => dependency.name.starts_with(prefix),
        None => dependency.name == *prefix || dependency.name.starts_with(&format!("{prefix}-")),
    };
    if layer == Layer::Core && NOT_IN_CORE.iter().any(starts) {
        return Some("pure code neither waits, logs nor draws randomness (DESIGN §4)".to_owned());
    }
    let (owner, _) = OWNERS.iter().find(|(_, prefixes)| prefixes.iter().any(starts))?;
    let allowed = home == Path::new(owner) || (layer == Layer::Dev && *owner != "dev/devchain");
    (!allowed).then(|| format!("only {owner} may use it"))
}

/// Whether a manifest has `[lints]` with `workspace = true`, or `lints.workspace = true`.
fn opts_into_lints(manifest: &str) -> bool {
    let mut section = "";
    manifest.lines().map(|line| line.split('#').next().unwrap_or(line).trim()).any(|line| {
        if line.starts_with('[') {
            section = line;
        }
        let key: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        (section == "[lints]" && key == "workspace=true")
            || (section.is_empty() && key == "lints.workspace=true")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    fn dependency(name: &str) -> Dependency {
        Dependency { name: name.to_owned(), kind: Kind::Normal, optional: false, features: Vec::new() }
    }

    fn package(folder: &str, dependencies: Vec<Dependency>) -> Package {
        Package {
            name: folder.rsplit('/').next().unwrap_or(folder).to_owned(),
            manifest: Path::new("/w").join(folder).join("Cargo.toml"),
            dependencies,
            binaries: Vec::new(),
            benches: Vec::new(),
        }
    }

    /// The complaints about one more crate in a small house.
    fn complaints(folder: &str, dependencies: Vec<Dependency>) -> Vec<String> {
        let mut house: Vec<Package> = [
            "crates/core/types",
            "crates/ports",
            "crates/services/runtime",
            "crates/adapters/store",
            "bins/basilica",
            "dev/localnet",
        ]
        .map(|folder| package(folder, Vec::new()))
        .into();
        house.push(package(folder, dependencies));
        violations(Path::new("/w"), &house)
    }

    #[test]
    fn this_repository_keeps_its_arrows() {
        let workspace = Workspace::find().expect("a clone");
        let packages = workspace.packages().expect("cargo answers");
        assert!(packages.len() > 10, "{} crates", packages.len());
        assert_eq!(check(&workspace.root, &packages).expect("manifests are readable"), [""; 0]);
    }

    #[test]
    fn every_arrow_is_allowed_or_caught() {
        let targets = ["types", "ports", "runtime", "store", "basilica", "localnet"];
        for (folder, allowed) in [
            ("crates/core/x", "100000"),
            ("crates/services/x", "111000"),
            ("crates/adapters/x", "110000"),
            ("bins/x", "111100"),
            ("dev/x", "111111"),
        ] {
            for (target, allowed) in targets.iter().zip(allowed.chars()) {
                let complaints = complaints(folder, vec![dependency(target)]);
                assert_eq!(complaints.is_empty(), allowed == '1', "{folder} -> {target}: {complaints:?}");
            }
        }
        assert_eq!(
            complaints("crates/services/x", vec![dependency("store")]),
            ["x -> store: Services may not use Adapters (DESIGN §4)"]
        );
    }

    #[test]
    fn tests_may_use_anything_and_build_scripts_may_not() {
        let kind = |kind| vec![Dependency { kind, ..dependency("store") }];
        assert_eq!(complaints("crates/core/x", kind(Kind::Development)), [""; 0]);
        assert_eq!(complaints("crates/core/x", kind(Kind::Build)).len(), 1);
    }

    #[test]
    fn technologies_have_one_owner() {
        for (folder, name, allowed) in [
            ("crates/adapters/x", "sqlx", false),
            ("crates/adapters/rpc", "tonic-prost-build", true),
            ("crates/services/x", "prost-types", false),
            ("bins/x", "subxt", false),
            ("crates/adapters/ssh", "russh", true),
            ("crates/adapters/ssh", "russhing", true),
            ("crates/adapters/chain", "sp-core", false),
            ("dev/localnet2", "frame-system", false),
            ("dev/devchain", "pallet-balances", true),
            ("dev/testkit", "russh", true),
            ("crates/core/x", "tokio", false),
            ("crates/core/x", "tokio-util", false),
            ("crates/core/x", "async-trait", false),
            ("crates/core/x", "rand_core", true),
            ("crates/core/x", "blake3", true),
            ("crates/ports", "async-trait", true),
        ] {
            let complaints = complaints(folder, vec![dependency(name)]);
            assert_eq!(complaints.is_empty(), allowed, "{folder} -> {name}: {complaints:?}");
        }
    }

    #[test]
    fn a_binary_reaches_dev_only_under_a_feature() {
        let optional = Dependency { optional: true, ..dependency("localnet") };
        assert_eq!(complaints("bins/x", vec![optional.clone()]), [""; 0]);
        assert_eq!(complaints("crates/services/x", vec![optional]).len(), 1);
    }

    #[test]
    fn the_testing_feature_stays_in_tests() {
        let testing = Dependency { features: vec!["testing".to_owned()], ..dependency("runtime") };
        assert_eq!(complaints("bins/x", vec![testing.clone()]).len(), 1);
        assert_eq!(complaints("dev/x", vec![testing]), [""; 0]);
    }

    #[test]
    fn a_crate_outside_the_layers_is_caught() {
        assert_eq!(complaints("crates/extra", Vec::new()), ["extra: crates/extra is no layer's folder"]);
    }

    #[test]
    fn lints_are_opted_into_in_either_spelling() {
        assert!(opts_into_lints("[package]\nname = \"x\"\n[lints]\nworkspace = true # all\n"));
        assert!(opts_into_lints("lints.workspace = true\n[package]\n"));
        for manifest in [
            "",
            "[dependencies]\nworkspace = true\n",
            "[lints]\n# workspace = true\n",
            "[lints.rust]\nworkspace = true\n",
        ] {
            assert!(!opts_into_lints(manifest), "{manifest}");
        }
    }
}
