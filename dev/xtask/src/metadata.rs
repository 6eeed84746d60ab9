use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::command::{Failure, output, spelled};

/// A crate of the workspace, as `cargo metadata` tells it.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) binaries: Vec<Target>,
    pub(crate) benches: Vec<Target>,
}

#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) optional: bool,
    pub(crate) features: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Development,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) required_features: Vec<String>,
}

/// All crates of the workspace.
pub(crate) fn packages(command: &mut Command) -> Result<Vec<Package>, Failure> {
    let text = output(command)?;
    parse(&text).map_err(|why| Failure::Answer { command: spelled(command), why })
}

fn parse(text: &str) -> Result<Vec<Package>, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    list(&document, "packages")?.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package, String> {
    let targets = |kind: &str| -> Result<Vec<Target>, String> {
        list(value, "targets")?
            .iter()
            .filter(|target| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind)))
            .map(|target| {
                let required_features = match &target["required-features"] {
                    Value::Null => Vec::new(),
                    _ => strings(target, "required-features")?,
                };
                Ok(Target { name: string(target, "name")?, required_features })
            })
            .collect()
    };
    Ok(Package {
        name: string(value, "name")?,
        manifest: string(value, "manifest_path")?.into(),
        dependencies: list(value, "dependencies")?.iter().map(dependency).collect::<Result<_, _>>()?,
        binaries: targets("bin")?,
        benches: targets("bench")?,
    })
}

fn dependency(value: &Value) -> Result<Dependency, String> {
    let kind = match &value["kind"] {
        Value::Null => Kind::Normal,
        Value::String(kind) if kind == "build" => Kind::Build,
        Value::String(kind) if kind == "dev" => Kind::Development,
        other => return Err(format!("unknown kind of dependency {other}")),
    };
    let optional = value["optional"].as_bool().ok_or("a dependency without `optional`")?;
    Ok(Dependency { name: string(value, "name")?, kind, optional, features: strings(value, "features")? })
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value[key].as_array().ok_or_else(|| format!("no list `{key}`"))
}

fn string(value: &Value, key: &str) -> Result<String, String> {
    value[key].as_str().map(str::to_owned).ok_or_else(|| format!("no text `{key}`"))
}

fn strings(value: &Value, key: &str) -> Result<Vec<String>, String> {
    let text =
        |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` holds no texts"));
    list(value, key)?.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_answer_is_read() {
        let text = r#"{"packages":[{"name":"a","manifest_path":"/w/crates/core/a/Cargo.toml","dependencies":[
            {"name":"b","kind":null,"optional":false,"features":["x"]},
            {"name":"c","kind":"dev","optional":false,"features":[]},
            {"name":"d","kind":"build","optional":true,"features":[]}],
          "targets":[{"kind":["lib"],"name":"a"},{"kind":["bin"],"name":"t","required-features":["f"]},
            {"kind":["bench"],"name":"s"}]}]}"#;
        let package = parse(text).expect("well formed").remove(0);
        let kinds: Vec<Kind> = package.dependencies.iter().map(|d| d.kind).collect();
        assert_eq!(kinds, [Kind::Normal, Kind::Development, Kind::Build]);
        assert_eq!(package.dependencies[0].features, ["x"]);
        assert!(package.dependencies[2].optional);
        assert_eq!((package.binaries[0].name.as_str(), package.benches[0].name.as_str()), ("t", "s"));
        assert_eq!(package.binaries[0].required_features, ["f"]);
    }

    #[test]
    fn a_strange_answer_is_refused() {
        for text in ["", "{}", r#"{"packages":[{}]}"#, r#"{"packages":[{"name":"a"}]}"#] {
            parse(text).expect_err(text);
        }
    }
}
