use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, run};
use crate::workspace::Workspace;

/// The real SDK that judges our chain (decision D3).
const VERSION: &str = "11.3.0";

/// The Python that has the SDK; its virtual environment is kept beside the builds. Fails where it cannot be made: the
/// tests that need it do not skip themselves.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let folder = workspace.target.join(format!("bittensor-sdk-{VERSION}"));
    let python = folder.join("bin/python");
    if is_ready(&python) {
        println!("    bittensor {VERSION} is in {}", folder.display());
        return Ok(python);
    }
    println!("    fetching bittensor {VERSION} from PyPI into {}", folder.display());
    let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)).and_then(|()| {
        let package = format!("bittensor=={VERSION}");
        let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", &package];
        run(Command::new(&python).args(pip))
    });
    match made {
        Ok(()) if is_ready(&python) => Ok(python),
        Ok(()) => Err(missing("it was installed, but `import bittensor` fails or has another version")),
        Err(failure) => Err(missing(&failure.to_string())),
    }
}

fn missing(why: &str) -> Failure {
    Failure::Broken(format!(
        "the Python SDK (bittensor {VERSION}) cannot be set up, and the tests against it cannot run: {why}.\n\
         It takes Python 3.10 to 3.14 with venv, and a way to PyPI (pip's own settings, such as PIP_INDEX_URL, hold)."
    ))
}

fn is_ready(python: &Path) -> bool {
    let question = "import importlib.metadata as m, bittensor; print(m.version('bittensor'))";
    Command::new(python)
        .args(["-c", question])
        .output()
        .is_ok_and(|answer| answer.status.success() && answer.stdout.trim_ascii() == VERSION.as_bytes())
}
