//! `cargo xtask kernels`: the GPU's kernels as PTX, which is committed and embedded in the prover.
//!
//! The compiler is NVIDIA's NVRTC of exactly one version from PyPI (RULES R14): its PTX is `.version 8.7`, which every
//! driver of CUDA 12.8 or later loads, and the same sources give the same bytes, so that a test can tell when sources
//! and PTX have drifted apart. NVIDIA's assembler of the same version comes with it and is used by tests alone: it shows
//! that the PTX assembles for every target and that nothing spills. Neither is linked into or shipped with anything.
//!
//! Rejected: compiling in a build script (everyone would download 100 MB to build a prover), and embedding machine code
//! (a file per target; drivers compile PTX for devices that do not exist yet).

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, run};
use crate::nvrtc::{Compiler, Source};
use crate::workspace::Workspace;

const VERSION: &str = "12.8.93";
const PACKAGES: [&str; 2] = ["nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvcc-cu12"];
/// The variables by which tests find the compiler and the assembler.
const NVRTC: &str = "BASILICA_NVRTC";
const PTXAS: &str = "BASILICA_PTXAS";

const SOURCES: &str = "crates/adapters/cuda/kernels";
const MAIN: &str = "basilica.cu";
const PTX: &str = "crates/adapters/cuda/ptx/sm_80.ptx";
/// The oldest target. PTX for it is compiled by drivers for every later device.
const TARGET: &CStr = c"--gpu-architecture=compute_80";

/// The compiler and the assembler.
struct Toolchain {
    nvrtc: PathBuf,
    ptxas: PathBuf,
}

impl Toolchain {
    fn ensure(workspace: &Workspace) -> Result<Self, Failure> {
        let folder = workspace.target.join(format!("nvrtc-{VERSION}"));
        let packages = folder.join("packages");
        let found = Self {
            nvrtc: packages.join("nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
            ptxas: packages.join("nvidia/cuda_nvcc/bin/ptxas"),
        };
        let complete = folder.join("complete");
        if complete.is_file() {
            println!("    NVRTC {VERSION} is in {}", folder.display());
            return Ok(found);
        }
        println!("    fetching {} {VERSION} from PyPI into {}", PACKAGES.join(" and "), folder.display());
        let made = Self::make(&folder, &packages).and_then(|()| {
            std::fs::write(&complete, VERSION)
                .map_err(|source| Failure::File { path: complete.clone(), source })
        });
        match made {
            Ok(()) if found.nvrtc.is_file() && found.ptxas.is_file() => Ok(found),
            Ok(()) => Err(missing("the packages do not hold what they should")),
            Err(failure) => Err(missing(&failure.to_string())),
        }
    }

    fn make(folder: &Path, packages: &Path) -> Result<(), Failure> {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "--no-input",
            "--disable-pip-version-check",
        ]);
        pip.args(["--no-deps", "--only-binary=:all:", "--target"]).arg(packages);
        run(pip.args(PACKAGES.map(|package| format!("{package}=={VERSION}"))))
    }
}

fn missing(why: &str) -> Failure {
    Failure::Broken(format!(
        "the kernels' compiler cannot be set up: {why}.\n\
         It is in {} {VERSION} on PyPI (pip's own settings, such as PIP_INDEX_URL, hold).",
        PACKAGES.join(" and ")
    ))
}

/// The variables by which tests find the tools.
pub(crate) fn variables(workspace: &Workspace) -> Result<[(&'static str, PathBuf); 2], Failure> {
    let Toolchain { nvrtc, ptxas } = Toolchain::ensure(workspace)?;
    Ok([(NVRTC, nvrtc), (PTXAS, ptxas)])
}

/// Writes the PTX anew.
pub(crate) fn write(workspace: &Workspace) -> Result<(), Failure> {
    let compiler = Compiler::open(&Toolchain::ensure(workspace)?.nvrtc)?;
    let ptx = compile(&compiler, &workspace.root, TARGET)?;
    let path = workspace.root.join(PTX);
    let changed = std::fs::read_to_string(&path).ok().as_ref() != Some(&ptx);
    std::fs::write(&path, &ptx).map_err(|source| Failure::File { path: path.clone(), source })?;
    println!("    {PTX}: {} bytes, {}", ptx.len(), if changed { "changed" } else { "as it was" });
    Ok(())
}

fn compile(compiler: &Compiler, root: &Path, target: &CStr) -> Result<String, Failure> {
    let folder = root.join(SOURCES);
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| Failure::File { path: path.to_owned(), source });
    let source = |path: &Path| {
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
        let text = |bytes| {
            CString::new(bytes).map_err(|_| Failure::Broken(format!("{} has a zero byte", path.display())))
        };
        Ok::<_, Failure>(Source { name: text(name)?, text: text(read(path)?)? })
    };
    let entries =
        std::fs::read_dir(&folder).map_err(|error| Failure::File { path: folder.clone(), source: error })?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    let others = paths
        .iter()
        .filter(|path| path.file_name().is_some_and(|name| name != MAIN))
        .map(|path| source(path))
        .collect::<Result<Vec<_>, _>>()?;
    compiler.ptx(&source(&folder.join(MAIN))?, &others, &[target, c"--std=c++17"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(variable: &str) -> PathBuf {
        let found = std::env::var_os(variable).map(PathBuf::from);
        found
            .unwrap_or_else(|| panic!("{variable} is not set; `cargo xtask test` sets up and names the tool"))
    }

    fn root() -> PathBuf {
        Workspace::find().expect("a clone").root
    }

    #[test]
    fn the_committed_ptx_is_what_the_sources_make() {
        let compiler = Compiler::open(&tool(NVRTC)).expect("opens");
        let made = compile(&compiler, &root(), TARGET).expect("compiles");
        let committed = std::fs::read_to_string(root().join(PTX)).expect("is there");
        assert!(
            made == committed,
            "{PTX} is not what {SOURCES} makes: run `cargo xtask kernels` and commit it"
        );
        assert!(committed.contains("\n.version 8.7\n"), "drivers of CUDA 12.8 load no later version");
    }

    #[test]
    fn hoppers_target_changes_nothing_but_its_name() {
        // Why there is one file. A kernel that uses what only Hopper has would make this fail.
        let compiler = Compiler::open(&tool(NVRTC)).expect("opens");
        let committed = std::fs::read_to_string(root().join(PTX)).expect("is there");
        let made = compile(&compiler, &root(), c"--gpu-architecture=compute_90").expect("compiles");
        assert!(made == committed.replace(".target sm_80\n", ".target sm_90\n"), "the PTX for 9.0 differs");
    }

    #[test]
    fn sources_that_are_wrong_are_refused_with_the_compilers_words() {
        let compiler = Compiler::open(&tool(NVRTC)).expect("opens");
        let source = |text: &str| Source {
            name: CString::new("x.cu").expect("no zero"),
            text: CString::new(text).expect("no zero"),
        };
        let refused = compiler.ptx(&source("int f( {"), &[], &[TARGET]).expect_err("no program").to_string();
        assert!(refused.contains("x.cu(1): error"), "{refused}");
    }

    #[test]
    fn the_kernels_assemble_for_every_target_without_spilling() {
        for target in ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"] {
            let mut ptxas = Command::new(tool(PTXAS));
            ptxas.arg("--verbose").arg(format!("--gpu-name={target}")).arg(root().join(PTX));
            let answer = ptxas.args(["--output-file", "/dev/null"]).output().expect("ptxas starts");
            let told = String::from_utf8_lossy(&answer.stderr);
            assert!(answer.status.success(), "{target}: {told}");
            let functions = told.matches("Function properties for").count();
            assert_eq!(functions, 8, "{told}");
            let tight = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
            assert_eq!(told.matches(tight).count(), functions, "{target} spills: {told}");
        }
    }
}
