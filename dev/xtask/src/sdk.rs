//! The Python packages that judge our chain, wallets (decision D3), REST API and miner protocol, unmodified from PyPI.
//!
//! One virtual environment per client: their requirements disagree (`bittensor-cli` 9.23.2 takes `bittensor-wallet`
//! 4.1.0 and no other), and a shared one would test a set that nobody has. They are made side by side and without
//! compiling what is never imported: 24 s instead of 58 s on two cores. They are kept beside the builds.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, run};
use crate::workspace::Workspace;

/// A virtual environment with a client that people use.
struct Environment {
    /// Its packages with their exact versions; the first names it.
    packages: &'static [(&'static str, &'static str)],
    /// What `import` must find.
    modules: &'static str,
    /// The variable by which tests find its program.
    variable: &'static str,
    /// The program, below the environment's folder.
    program: &'static str,
}

const ENVIRONMENTS: [Environment; 5] = [
    Environment {
        packages: &[("bittensor", "11.3.0")],
        modules: "bittensor",
        variable: "BASILICA_SDK_PYTHON",
        program: "bin/python",
    },
    Environment {
        packages: &[("bittensor", "10.5.0"), ("bittensor-wallet", "4.1.1"), ("py-sr25519-bindings", "0.2.4")],
        modules: "bittensor, bittensor_wallet, sr25519",
        variable: "BASILICA_SDK10_PYTHON",
        program: "bin/python",
    },
    Environment {
        packages: &[("bittensor-cli", "9.23.2")],
        modules: "bittensor_cli.cli",
        variable: "BASILICA_BTCLI",
        program: "bin/btcli",
    },
    Environment {
        packages: &[("grpcio", "1.85.1"), ("grpcio-tools", "1.85.1"), ("py-sr25519-bindings", "0.2.4")],
        modules: "grpc, grpc_tools.protoc, sr25519",
        variable: "BASILICA_GRPC_PYTHON",
        program: "bin/python",
    },
    Environment {
        packages: &[("schemathesis", "4.32.5")],
        modules: "schemathesis",
        variable: "BASILICA_SCHEMATHESIS",
        program: "bin/schemathesis",
    },
];

/// The variables by which tests find the clients. Fails where one cannot be made: the tests that need them do not skip
/// themselves.
pub(crate) fn variables(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    std::thread::scope(|scope| {
        let making = ENVIRONMENTS.map(|environment| scope.spawn(move || environment.ensure(workspace)));
        making
            .into_iter()
            .map(|made| made.join().expect("setting up an environment does not panic"))
            .collect()
    })
}

impl Environment {
    fn ensure(&self, workspace: &Workspace) -> Result<(&'static str, PathBuf), Failure> {
        let (name, version) = self.packages[0];
        let folder = workspace.target.join(format!("{name}-{version}"));
        let found = (self.variable, folder.join(self.program));
        if self.is_ready(&folder) {
            println!("    {name} {version} is in {}", folder.display());
            return Ok(found);
        }
        println!("    fetching {name} {version} from PyPI into {}", folder.display());
        match self.make(&folder) {
            Ok(()) if self.is_ready(&folder) => Ok(found),
            Ok(()) => Err(self.missing("it was installed, but cannot be imported or has another version")),
            Err(failure) => Err(self.missing(&failure.to_string())),
        }
    }

    fn make(&self, folder: &Path) -> Result<(), Failure> {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--no-compile", "--no-input", "--disable-pip-version-check"];
        let packages = self.packages.iter().map(|(name, version)| format!("{name}=={version}"));
        run(Command::new(folder.join("bin/python")).args(pip).args(packages))
    }

    fn is_ready(&self, folder: &Path) -> bool {
        let question = format!(
            "import importlib.metadata as m, sys, {}; print(*map(m.version, sys.argv[1:]))",
            self.modules
        );
        let versions: Vec<&str> = self.packages.iter().map(|(_, version)| *version).collect();
        Command::new(folder.join("bin/python"))
            .args(["-c", &question])
            .args(self.packages.iter().map(|(name, _)| name))
            .output()
            .is_ok_and(|answer| {
                answer.status.success()
                    && answer.stdout.trim_ascii() == versions.join(" ").as_bytes()
                    && folder.join(self.program).is_file()
            })
    }

    fn missing(&self, why: &str) -> Failure {
        let packages: Vec<String> =
            self.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
        Failure::Broken(format!(
            "the Python packages {} cannot be set up, and the tests against them cannot run: {why}.\n\
             They take Python 3.10 to 3.14 with venv, and a way to PyPI (pip's own settings, such as PIP_INDEX_URL, \
             hold).",
            packages.join(", ")
        ))
    }
}
