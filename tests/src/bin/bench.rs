//! Measures every figure of `docs/performance.md` and writes them there.

use anyhow::{Context as _, bail};
use system_tests::bench::metering::{WITHOUT_A_PACE, without_a_pace};
use system_tests::bench::{Part, Wanted, run};

const HELP: &str = "\
Builds the packages, measures them, and writes docs/performance.md with its pictures.

  --only PART        functions, held, operations, throughput or sweep
  --quick            only sees that everything works, with the binaries that are there; writes nothing
  --as-built         measures the packages as they are, without building them
  --deployments N    in the larger of the two ledgers that are swept (default 1000000)
";

fn main() -> anyhow::Result<()> {
    let argument = std::env::args().nth(1);
    let mut runtime = match argument.as_deref() {
        Some(WITHOUT_A_PACE) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    match argument.as_deref() {
        Some(WITHOUT_A_PACE) => runtime.block_on(without_a_pace()),
        Some("--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        _ => runtime.block_on(run(wanted()?)),
    }
}

fn wanted() -> anyhow::Result<Wanted> {
    let mut wanted = Wanted { only: None, quick: false, as_built: false, deployments: 1_000_000 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{name} needs a value"));
        match name.as_str() {
            "--only" => {
                let part = value()?;
                wanted.only = Some(Part::named(&part).with_context(|| format!("there is no part {part}; --help"))?);
            }
            "--quick" => wanted.quick = true,
            "--as-built" => wanted.as_built = true,
            "--deployments" => wanted.deployments = value()?.parse().context("--deployments needs a number")?,
            _ => bail!("{name} is not known; --help says what is"),
        }
    }
    Ok(wanted)
}
