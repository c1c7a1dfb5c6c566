//! What is measured: the binaries in the packages, built first unless they are to be taken as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use tradepost_local::progress::Terminal;

use super::{Wanted, root};
use crate::lambda_host::Program;
use crate::lambda_host::process::binary;

/// The functions, as in the template.
pub const FUNCTIONS: [&str; 6] = ["landing", "notifications", "worker", "sweeper", "metering", "usage"];
/// The handler on Azure.
pub const HANDLER: &str = "tradepost";
/// How large a function's package may be, in bytes.
pub const WANTED: u64 = 4_000_000;
const PACKAGED: &str = "target/packaging/x86_64-unknown-linux-gnu/shipped";

/// Where they are.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
    /// A function that does nothing.
    empty: PathBuf,
    /// Node, if this machine has it.
    pub node: Option<PathBuf>,
}

/// Sizes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Of the binary.
    pub binary: u64,
    /// Of its package, if it was packed.
    pub package: Option<u64>,
}

impl Programs {
    /// Builds what is missing or older than the source, and finds everything.
    ///
    /// # Errors
    /// If something cannot be built.
    pub fn built(wanted: &Wanted, terminal: Terminal) -> anyhow::Result<Self> {
        let as_they_are = wanted.as_built || wanted.quick;
        if !as_they_are {
            terminal.line("building the packages: infra/package.py --no-sbom");
            let packed = Command::new("python3").arg(root().join("infra/package.py")).arg("--no-sbom").status();
            ensure!(packed.context("python3 cannot be started")?.success(), "the packages were not built");
        }
        let packaged = root().join(PACKAGED);
        let complete = FUNCTIONS.iter().chain([&HANDLER]).all(|name| packaged.join(name).is_file());
        let folder = match complete {
            true => packaged,
            false => binary("landing")?.parent().context("no folder")?.to_owned(),
        };
        let node = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).map(|folder| folder.join("node")).find(|file| file.is_file())
        });
        Ok(Self { folder, empty: empty_function()?, node })
    }

    /// A function or the handler.
    pub fn program(&self, name: &str) -> Program {
        self.folder.join(name).into()
    }

    /// A function that does nothing.
    pub fn empty(&self) -> Program {
        self.empty.clone().into()
    }

    /// A script of this folder under Node, if this machine has it.
    pub fn under_node(&self, script: &str) -> Option<Program> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench").join(script);
        self.node.clone().map(|path| Program { path, arguments: vec![script.into()] })
    }

    /// Which Node that is.
    pub fn node_version(&self) -> Option<String> {
        let said = Command::new(self.node.as_ref()?).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&said.stdout).trim().trim_start_matches('v').to_owned())
    }

    /// How large a function or the handler is.
    ///
    /// # Errors
    /// If it is not there.
    pub fn sizes(&self, name: &str) -> anyhow::Result<Sizes> {
        let package = if name == HANDLER { "azure.zip".to_owned() } else { format!("aws/{name}.zip") };
        let package = root().join("target/packages").join(package);
        Ok(Sizes {
            binary: std::fs::metadata(self.folder.join(name))?.len(),
            package: std::fs::metadata(package).ok().map(|file| file.len()),
        })
    }

    /// How large the function that does nothing is.
    ///
    /// # Errors
    /// If it is not there.
    pub fn empty_size(&self) -> anyhow::Result<u64> {
        Ok(std::fs::metadata(&self.empty)?.len())
    }
}

/// The function that does nothing, built with the profile this program was built with.
fn empty_function() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?.parent().context("no folder")?.to_owned();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--package", "system-tests", "--bin", "empty_function"]);
    if here.ends_with("release") {
        command.arg("--release");
    }
    let done = command.current_dir(root()).status().context("cargo cannot be started")?;
    ensure!(done.success(), "the function that does nothing was not built");
    Ok(here.join("empty_function"))
}
